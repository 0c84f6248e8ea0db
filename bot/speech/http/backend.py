"""The speech backend that uses a server with OpenAI's speech API and the clone fields of Qwen3-TTS.

Timbre's own API is such a server, and so are vLLM-Omni and sglang-omni:
https://docs.vllm.ai/projects/vllm-omni/en/stable/serving/speech_api/
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
from contextlib import aclosing, suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile
import structlog

from backend.contract import (
    MAX_NEW_TOKENS,
    BackendInfo,
    BackendUnavailableError,
    GenerationFailedError,
    PcmChunk,
    PreparedVoice,
    SpeechError,
    SpeechRunsOnError,
    VoicePrompt,
    VoicePromptModelMismatchError,
    check_request,
)
from bot.errors import Reason, Refusal
from bot.speech.errors import BackendUnreachableError
from bot.speech.http.pcm import PcmReader
from bot.speech.http.prompt import read_prompt, write_prompt
from bot.speech.http.server import ServerModel
from bot.speech.remote.breaker import CircuitBreaker
from bot.speech.remote.fair_share import FairShare

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from backend.contract import ConsentRecord, ReferenceClip, SpeechRequest
    from bot.speech.http.server import SpeechServer

log = structlog.get_logger(__name__)

ASSUMED_MODEL = "Qwen/Qwen3-TTS-12Hz-1.7B-Base"
"""What a server is taken to have until it names its model."""

MODEL_ID_SUFFIX = "@http"
"""Tells this backend's prompts from those of the same model elsewhere, which are another thing."""

SENTENCES_AT_ONCE = 4
"""How many sentences of one text are requested at once. A server batches them."""

ASK_AFTER_SECONDS = 60.0
"""A server that was asked more recently is used without asking for its model again."""

SECONDS_PER_FRAME = 0.08
SPARE_SECONDS = 2.0
"""How much longer speech may be than its codec frames: a server may put silence around it."""

_AT_ONCE_SECONDS = 5.0
_PAUSE_BEFORE_REPEATING = 0.5


class HttpBackend:
    """A `MarkingBackend`, if the server marks its speech; `find_watermark` refuses if it doesn't.

    The server keeps no voices: a prompt is the clip, sent with each sentence.

    Args:
        server: The server.
        model: The name of its model, or "" for its first.
        voice: What requests have as their `voice`, or "" for none. Clones need none, but some
            servers refuse a request without it.
        calls: The most sentences at once.
    """

    def __init__(self, server: SpeechServer, *, model: str, voice: str, calls: int) -> None:
        self._server = server
        self._wanted = model
        self._voice = voice
        self._model = ServerModel(model or ASSUMED_MODEL)
        self._asked_at: float | None = None
        self._slots = FairShare(calls)
        self._breaker = CircuitBreaker()
        self._is_closing = False
        self._first_check: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start to ask for the server's model, without waiting. The result is logged."""
        self._first_check = asyncio.create_task(self._log_check())

    async def close(self) -> None:
        """Break off every request. They fail with `BackendUnavailableError`."""
        self._is_closing = True
        if self._first_check is not None:
            self._first_check.cancel()
            with suppress(asyncio.CancelledError):
                await self._first_check
        self._slots.close()
        await self._server.close()

    def info(self) -> BackendInfo:
        """Describe the backend, as far as that is known without a request."""
        return BackendInfo(
            name=f"{self._model.name.rpartition('/')[-1]} on a speech server",
            model_id=f"{self._model.name}{MODEL_ID_SUFFIX}",
            languages=self._model.languages,
            clones=self._model.clones,
            marks=self._model.marks,
            hears=False,
            sentences_at_once=SENTENCES_AT_ONCE,
        )

    async def health(self) -> None:
        """Return if a request could be made now."""
        await self._find_model(max_age=_AT_ONCE_SECONDS)

    async def prepare_voice(self, clip: ReferenceClip, consent: ConsentRecord) -> PreparedVoice:
        """Make a prompt of the clip. The server hears it only when the voice speaks.

        Nobody transcribes the clip. Without a transcript, the server takes its sound alone.
        """
        await self._find_model(max_age=ASK_AFTER_SECONDS)
        data = await asyncio.to_thread(write_prompt, clip, consent)
        return PreparedVoice(VoicePrompt(data, self.info().model_id))

    async def find_watermark(self, flac: bytes, *, caller: str) -> bool:
        """Have the server search a recording for the mark of its speech.

        Raises `Refusal` if it doesn't mark any.
        """
        server, _, _ = caller.partition("/")
        async with self._slots.slot(server):
            model = await self._find_model(max_age=ASK_AFTER_SECONDS)
            if not model.marks:
                raise Refusal(Reason.NOTHING_IS_MARKED)
            try:
                return await self._server.is_marked(flac)
            except SpeechError as error:
                self._learn_from(error)
                raise

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[PcmChunk, None]:
        """Have one sentence spoken, in chunks as they come. Closing the iterator ends the work.

        A request that fails at once before any speech has come is made a second time, if the
        failure may be temporary.
        """
        server, _, _ = request.caller.partition("/")
        async with self._slots.slot(server):
            is_repeated = has_begun = False
            while True:
                began = monotonic()
                try:
                    async with aclosing(self._speak_once(request)) as chunks:
                        async for chunk in chunks:
                            has_begun = True
                            yield chunk
                except BackendUnreachableError as error:
                    is_late = monotonic() - began > _AT_ONCE_SECONDS
                    if has_begun or is_repeated or is_late or error.retry_after is not None:
                        raise
                else:
                    return
                is_repeated = True
                await asyncio.sleep(_PAUSE_BEFORE_REPEATING)

    async def _speak_once(self, request: SpeechRequest) -> AsyncGenerator[PcmChunk, None]:
        model = await self._find_model(max_age=ASK_AFTER_SECONDS)
        model_id = self.info().model_id
        if request.prompt.model_id != model_id:
            raise VoicePromptModelMismatchError(request.prompt.model_id, model_id)
        check_request(request, model.languages)
        body = await asyncio.to_thread(self._body, request, model)
        began = monotonic()
        try:
            async with self._server.speech(body, model, request.language) as answer:
                reader = PcmReader(answer.media_type, answer.headers)
                seconds, longest = 0.0, request.max_new_tokens * SECONDS_PER_FRAME + SPARE_SECONDS
                async with aclosing(answer.pieces) as pieces:
                    async for piece in pieces:
                        self._breaker.succeeded()
                        pcm = reader.push(piece)
                        seconds += len(pcm) / 2 / reader.sample_rate
                        if seconds > longest:
                            raise SpeechRunsOnError(seconds)
                        if pcm:
                            yield PcmChunk(pcm, reader.sample_rate)
                reader.finish()
                if not seconds:
                    raise GenerationFailedError("the server sent no speech")
        except SpeechError as error:
            self._learn_from(error)
            if not self._is_closing:
                log.warning(
                    "the speech server failed",
                    failure=type(error).__name__,
                    reason=str(error),
                    seconds=round(monotonic() - began, 1),
                )
            raise

    def _body(self, request: SpeechRequest, model: ServerModel) -> bytes:
        """Write a request as JSON. What servers have by themselves is left out.

        A limit above the server's own would switch off vLLM-Omni's, which goes by the text.
        `stream` and `stream_format` together are what vLLM-Omni and sglang-omni stream bare samples
        for. `consent` is what Timbre's own API asks for, and others don't read.
        """
        clip, _consent = read_prompt(request.prompt.data)
        wav = io.BytesIO()
        soundfile.write(
            wav, np.frombuffer(clip.pcm, "<i2"), clip.sample_rate, format="WAV", subtype="PCM_16"
        )
        fields: dict[str, Any] = {
            "model": model.name,
            "input": request.text,
            "language": request.language,
            "ref_audio": f"data:audio/wav;base64,{base64.b64encode(wav.getvalue()).decode()}",
            "consent": True,  # a prompt has no other clip than one with a consent
            "response_format": "pcm",
            "stream": True,
            "stream_format": "audio",
        }
        if clip.transcript is None:
            fields["x_vector_only_mode"] = True
        else:
            fields["ref_text"] = clip.transcript
        if self._voice:
            fields["voice"] = self._voice
        if request.seed is not None:
            fields["seed"] = request.seed
        if request.max_new_tokens < MAX_NEW_TOKENS:
            fields["max_new_tokens"] = request.max_new_tokens
        return json.dumps(fields).encode()

    async def _find_model(self, *, max_age: float) -> ServerModel:
        """Ask for the server's model, unless that was done a short while ago."""
        if self._is_closing:
            raise BackendUnavailableError("the bot is shutting down")
        self._breaker.check()
        if self._asked_at is not None and monotonic() - self._asked_at <= max_age:
            return self._model
        try:
            self._model = await self._server.model(self._wanted)
        except asyncio.CancelledError:
            self._breaker.probe_cancelled()
            raise
        except SpeechError as error:
            self._learn_from(error)
            raise
        self._asked_at = monotonic()
        self._breaker.reached()
        return self._model

    def _learn_from(self, error: SpeechError) -> None:
        """After a failure, update the breaker, and ask for the model again before the next use."""
        if isinstance(error, BackendUnreachableError):
            if error.retry_after is None:
                self._breaker.failed()
        else:
            self._breaker.succeeded()
        if isinstance(error, BackendUnavailableError):
            self._asked_at = None

    async def _log_check(self) -> None:
        try:
            model = await self._find_model(max_age=0)
        except SpeechError as error:
            log.warning(
                "the speech server is not there yet",
                failure=type(error).__name__,
                reason=str(error),
            )
        else:
            log.info("the speech server is there", model=model.name, marked=model.marks)
