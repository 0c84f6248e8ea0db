"""A server of speech on 127.0.0.1, in a thread of its own, that answers as vLLM-Omni does.

Its answers are those of vLLM-Omni's `docs/serving/speech_api.md` ("Voice Clone Parameters",
"Response Format", "Error Responses") and `vllm_omni/entrypoints/openai/tts_adapters/qwen3_tts.py`,
November 2026:

- `stream_format="audio"` streams raw samples as `audio/pcm`. It needs `response_format` pcm or wav.
- "Base task requires non-empty 'ref_text' (transcript of the reference audio) unless
  'x_vector_only_mode' is enabled".
- An error is `{"error": {"message", "type", "param", "code"}}`, where `param` is mostly null and
  `code` the status.
- Fields that it doesn't know are ignored. If speech fails on the way, the connection is closed
  before the answer is whole.

What it can't show is a model: it speaks in tones.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import io
import threading
from collections import deque
from contextlib import contextmanager, suppress
from itertools import cycle
from typing import TYPE_CHECKING, Any

import soundfile
from aiohttp import web

from tests.support.scripted_backend import tone

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]

MODEL = "Qwen/Qwen3-TTS-12Hz-1.7B-Base"
PIECES = (4_095, 1, 333, 2, 20_001)
"""Bytes of the pieces that speech is sent in: samples are cut in two."""

PITCH = 440


class SpeechServerStub:
    """The server. Tests read what it was asked, and decide what it does next.

    Attributes:
        model: The name of its model.
        key: The key that it wants, or "" for none.
        describes: More fields of its model.
        answers: What to do with the next requests for speech, instead of speaking.
        gate: Speech goes on after its first piece when this is set.
        asked: The fields of each request for speech.
        headers: The headers of each request of any kind.
        left: How many clients have left before their answer was whole.
        opened: How many connections were opened.
    """

    def __init__(self) -> None:
        self.model = MODEL
        self.key = ""
        self.describes: dict[str, Any] = {}
        self.answers: deque[Answer] = deque()
        self.gate = threading.Event()
        self.gate.set()
        self.asked: list[dict[str, Any]] = []
        self.headers: list[Mapping[str, str]] = []
        self.left = 0
        self.opened = 0
        self.url = ""
        self._transports: set[object] = set()

    def app(self) -> web.Application:
        """The application, with vLLM-Omni's routes."""
        app = web.Application(client_max_size=16 * 1024 * 1024, middlewares=[self._watched])
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/audio/speech", self._speech)
        return app

    @web.middleware
    async def _watched(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.headers.append(request.headers.copy())
        if request.transport not in self._transports:
            self._transports.add(request.transport)
            self.opened += 1
        if self.key and request.headers.get("authorization") != f"Bearer {self.key}":
            return web.json_response({"error": "Unauthorized"}, status=401)
        try:
            answer: web.StreamResponse = await handler(request)
        except (asyncio.CancelledError, ConnectionResetError):
            self.left += 1
            raise
        return answer

    async def _models(self, _request: web.Request) -> web.StreamResponse:
        entry = {"id": self.model, "object": "model", "owned_by": "vllm", **self.describes}
        return web.json_response({"object": "list", "data": [entry]})

    async def _speech(self, request: web.Request) -> web.StreamResponse:
        fields = await request.json()
        self.asked.append(fields)
        if self.answers:
            return await self.answers.popleft()(request)
        wrong = self._wrong_with(fields)
        if wrong is not None:
            return wrong
        return await self.stream(request, tone(PITCH, len(fields["input"])))

    def _wrong_with(self, fields: dict[str, Any]) -> web.Response | None:
        if fields.get("model") not in {None, self.model}:
            message = f"The model `{fields['model']}` does not exist."
            return refusal(404, message, type="NotFoundError", param="model")
        if not fields["input"].strip():
            return refusal(400, "Input text cannot be empty")
        if fields.get("stream_format") == "audio" and fields["response_format"] not in {
            "pcm",
            "wav",
        }:
            return refusal(400, "Streaming requires response_format='pcm' or 'wav'.")
        if not fields.get("x_vector_only_mode") and not fields.get("ref_text", "").strip():
            return refusal(400, "Base task requires non-empty 'ref_text'")
        try:
            head, _, data = fields["ref_audio"].partition(";base64,")
            soundfile.info(io.BytesIO(base64.b64decode(data, validate=True)))
        except (soundfile.SoundFileError, binascii.Error):
            return refusal(400, "Invalid ref_audio")
        return None if head == "data:audio/wav" else refusal(400, "Invalid ref_audio format")

    async def stream(
        self, request: web.Request, body: bytes, media_type: str = "audio/pcm", **headers: str
    ) -> web.StreamResponse:
        """Send a body in pieces, as `PIECES` has them."""
        response = web.StreamResponse(headers={"content-type": media_type, **headers})
        await response.prepare(request)
        sizes, position = cycle(PIECES), 0
        while position < len(body):
            size = next(sizes)
            await response.write(body[position : position + size])
            position += size
            while not self.gate.is_set():  # noqa: ASYNC110 - another thread sets it
                await asyncio.sleep(0.01)
            await asyncio.sleep(0)
        await response.write_eof()
        return response


def refusal(
    status: int,
    message: str,
    *,
    kind: str = "BadRequestError",
    param: str | None = None,
    **more: Any,
) -> web.Response:
    """An error in vLLM-Omni's envelope, whose code is the status."""
    error = {"message": message, "type": kind, "param": param, "code": status, **more}
    return web.json_response({"error": error}, status=status)


def refuses(status: int, *, retry_after: str | None = None, **fields: Any) -> Answer:
    """Make it answer with an error."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        response = refusal(status, "No, not “that text”.", **fields)
        if retry_after is not None:
            response.headers["retry-after"] = retry_after
        return response

    return answer


@contextmanager
def speech_server() -> Iterator[SpeechServerStub]:
    """Run a server in a thread of its own."""
    stub, started, loop = SpeechServerStub(), threading.Event(), asyncio.new_event_loop()
    stopping = asyncio.Event()

    async def serve() -> None:
        runner = web.AppRunner(stub.app(), handler_cancellation=True, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        stub.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        started.set()
        await stopping.wait()
        stub.gate.set()
        await runner.cleanup()

    def run() -> None:
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(serve())
        loop.close()

    thread = threading.Thread(target=run, name="speech server", daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield stub
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join(10)
