"""What the backend asks a server for, what it makes of the answers, and what a failure becomes."""

from __future__ import annotations

import asyncio
import base64
import io
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
from aiohttp import web
from structlog.testing import capture_logs

from backend.contract import (
    BackendBusyError,
    BackendUnavailableError,
    ConsentMissingError,
    ConsentRecord,
    GenerationFailedError,
    LanguageNotSupportedError,
    ReferenceClip,
    ReferenceUnusableError,
    SpeechError,
    SpeechRequest,
    SpeechRunsOnError,
    TextNotSpeakableError,
    VoicePrompt,
    VoicePromptInvalidError,
    VoicePromptModelMismatchError,
)
from bot.errors import Reason, Refusal
from bot.speech.errors import (
    BackendBrokenError,
    BackendDeniesError,
    BackendQuotaError,
    BackendUnreachableError,
    SpeechInterruptedError,
    SpeechTimeoutError,
)
from bot.speech.http import server as server_module
from bot.speech.http.backend import HttpBackend
from bot.speech.http.server import SpeechServer
from bot.speech.remote.breaker import FAILURES_BEFORE_OPENING
from tests.support.scripted_backend import tone
from tests.support.speech_server import MODEL, PITCH, refuses

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.support.speech_server import Answer, SpeechServerStub

CONSENT = ConsentRecord(7, datetime(2026, 11, 1, 12, 30, tzinfo=UTC), "2026-11")
WORDS = "The birch canoe slid."
TEXT = "Good evening."
SPEECH = tone(PITCH, len(TEXT))
KEY = "sk-very-secret"


def clip(transcript: str | None = WORDS) -> ReferenceClip:
    return ReferenceClip(tone(200, 100), transcript=transcript)


@asynccontextmanager
async def opened(url: str, **options: Any) -> AsyncIterator[HttpBackend]:
    chosen = {"model": "", "voice": "", "calls": 4, **options}
    backend = HttpBackend(SpeechServer(url, KEY, calls=4), **chosen)
    await backend.start()
    try:
        yield backend
    finally:
        await backend.close()


@pytest.fixture
async def backend(stub: SpeechServerStub) -> AsyncIterator[HttpBackend]:
    async with opened(stub.url) as backend:
        yield backend


async def a_request(backend: HttpBackend, text: str = TEXT, **options: Any) -> SpeechRequest:
    voice = await backend.prepare_voice(clip(), CONSENT)
    return SpeechRequest(text, voice.prompt, "English", caller="server/person", **options)


async def spoken(backend: HttpBackend, request: SpeechRequest) -> bytes:
    async with aclosing(backend.speak(request)) as chunks:
        return b"".join([chunk.pcm async for chunk in chunks])


async def until(condition: Callable[[], bool], within: float = 5) -> None:
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - another thread decides
            await asyncio.sleep(0.01)


async def test_a_sentence_is_asked_for_with_its_clip_and_comes_in_whole_samples(
    backend: HttpBackend, stub: SpeechServerStub
) -> None:
    stub.key = KEY
    request = await a_request(backend, seed=5, max_new_tokens=100)
    chunks = [chunk async for chunk in backend.speak(request)]
    assert b"".join(chunk.pcm for chunk in chunks) == SPEECH
    assert {(chunk.sample_rate, len(chunk.pcm) % 2) for chunk in chunks} == {(24_000, 0)}
    [asked] = stub.asked
    recording = base64.b64decode(asked.pop("ref_audio").removeprefix("data:audio/wav;base64,"))
    samples, rate = soundfile.read(io.BytesIO(recording), dtype="int16")
    assert (samples.tobytes(), rate) == (clip().pcm, 24_000)
    assert asked == {
        "model": MODEL,
        "input": TEXT,
        "language": "English",
        "ref_text": WORDS,
        "consent": True,
        "response_format": "pcm",
        "stream": True,
        "stream_format": "audio",
        "seed": 5,
        "max_new_tokens": 100,
    }
    assert backend.info().model_id == f"{MODEL}@http"


async def test_the_first_chunk_comes_before_the_rest_is_made(
    backend: HttpBackend, stub: SpeechServerStub
) -> None:
    request = await a_request(backend)
    stub.gate.clear()
    async with aclosing(backend.speak(request)) as chunks:
        first = await anext(chunks)
        assert 0 < len(first.pcm) < len(SPEECH)
        stub.gate.set()
        assert first.pcm + b"".join([chunk.pcm async for chunk in chunks]) == SPEECH


async def test_a_clip_without_a_transcript_is_cloned_from_its_sound(
    backend: HttpBackend, stub: SpeechServerStub
) -> None:
    voice = await backend.prepare_voice(clip(transcript=None), CONSENT)
    assert voice.heard is None
    assert await spoken(backend, SpeechRequest(TEXT, voice.prompt)) == SPEECH
    [asked] = stub.asked
    assert asked["x_vector_only_mode"] is True
    assert not {"ref_text", "seed", "max_new_tokens", "voice"} & asked.keys(), "the server's own"


async def test_a_voice_that_the_operator_names_is_in_each_request(stub: SpeechServerStub) -> None:
    async with opened(stub.url, voice="default", model=MODEL) as backend:
        await spoken(backend, await a_request(backend))
    assert stub.asked[0]["voice"] == "default"


async def test_what_a_server_says_of_its_model_is_believed(
    backend: HttpBackend, stub: SpeechServerStub
) -> None:
    assert not backend.info().marks, "nobody has said so yet"
    stub.describes = {"watermarked": True, "languages": ["English", "Klingon"], "clones": False}
    await backend.prepare_voice(clip(), CONSENT)
    info = backend.info()
    assert (info.marks, info.clones, info.languages) == (True, False, ("Auto", "English"))


async def test_nothing_is_searched_for_where_nothing_is_marked(backend: HttpBackend) -> None:
    with pytest.raises(Refusal) as caught:
        await backend.find_watermark(b"fLaC", caller="server/person")
    assert caught.value.reason is Reason.NOTHING_IS_MARKED


async def test_a_voice_is_made_again_for_another_model(
    backend: HttpBackend, stub: SpeechServerStub
) -> None:
    request = await a_request(backend)
    stub.model = "Qwen/Qwen3-TTS-12Hz-0.6B-Base"
    with pytest.raises(BackendBrokenError, match="no model of the name"):
        await spoken(backend, request)
    with pytest.raises(VoicePromptModelMismatchError) as caught:  # the server was asked again
        await spoken(backend, request)
    assert caught.value.needed == "Qwen/Qwen3-TTS-12Hz-0.6B-Base@http"
    assert await spoken(backend, await a_request(backend)) == SPEECH


async def test_nothing_is_cloned_without_consent_or_from_too_short_a_clip(
    backend: HttpBackend,
) -> None:
    with pytest.raises(ConsentMissingError):
        await backend.prepare_voice(clip(), None)  # type: ignore[arg-type]
    with pytest.raises(ReferenceUnusableError):
        await backend.prepare_voice(ReferenceClip(tone(200, 20)), CONSENT)


@pytest.mark.parametrize("damage", [b"", b"{}\nfLaC", b"safetensors" * 9, b"\x80\x04."])
async def test_bytes_that_are_no_prompt_are_refused(backend: HttpBackend, damage: bytes) -> None:
    request = await a_request(backend)
    cut = request.prompt.data[: len(request.prompt.data) // 2]
    for data in (damage, cut):
        prompt = VoicePrompt(data, request.prompt.model_id)
        with pytest.raises(VoicePromptInvalidError):
            await spoken(backend, replace(request, prompt=prompt))


REFUSALS: list[tuple[Answer, type[SpeechError]]] = [
    (refuses(400), GenerationFailedError),
    (refuses(422), GenerationFailedError),
    (refuses(400, param="input"), TextNotSpeakableError),
    (refuses(400, param="ref_audio"), ReferenceUnusableError),
    (refuses(400, param="consent"), ConsentMissingError),
    (refuses(400, param="language"), LanguageNotSupportedError),
    (refuses(400, param="voice"), BackendBrokenError),
    (refuses(400, code="text_not_speakable"), TextNotSpeakableError),
    (refuses(503, code="speech_interrupted"), SpeechInterruptedError),
    (refuses(401), BackendDeniesError),
    (refuses(403), BackendDeniesError),
    (refuses(404, param="model"), BackendBrokenError),
    (refuses(405), BackendBrokenError),
    (refuses(413), BackendBrokenError),
    (refuses(429, retry_after="7"), BackendBusyError),
    (refuses(429, retry_after="40000"), BackendQuotaError),
    (refuses(500), GenerationFailedError),
    (refuses(503, retry_after="7"), BackendBusyError),
    (refuses(503), BackendBusyError),  # sglang-omni: the queue is full
    (refuses(504), SpeechTimeoutError),
]


@pytest.mark.parametrize(("answer", "kind"), REFUSALS)
async def test_refusals_become_the_errors_that_people_get_sentences_for(
    backend: HttpBackend, stub: SpeechServerStub, answer: Answer, kind: type[SpeechError]
) -> None:
    request = await a_request(backend)
    stub.answers.append(answer)
    with capture_logs() as logs, pytest.raises(kind) as caught:
        await spoken(backend, request)
    assert type(caught.value) is kind
    if isinstance(caught.value, BackendBusyError):
        assert caught.value.retry_after in {7, None}
    assert "that text" not in f"{logs}{caught.value}", "a server may quote what it was sent"
    assert await spoken(backend, request) == SPEECH, "the next one works"


async def test_a_server_whose_model_does_not_clone_is_the_operators_to_change(
    backend: HttpBackend, stub: SpeechServerStub
) -> None:
    async def answer(_request: web.Request) -> web.StreamResponse:
        message = (
            "Qwen3-TTS CustomVoice checkpoint does not support task_type='Base'. Use "
            "task_type='CustomVoice' or load the matching Base checkpoint."
        )
        return web.json_response(
            {"error": {"message": message, "type": "BadRequestError", "param": None, "code": 400}},
            status=400,
        )

    stub.answers.append(answer)
    with pytest.raises(BackendBrokenError, match="Base checkpoint"):
        await spoken(backend, await a_request(backend))


class TestTheAnswer:
    """That is cut off, empty, endless, or something else than speech."""

    async def ends_as(
        self, backend: HttpBackend, stub: SpeechServerStub, answer: Answer, kind: type[SpeechError]
    ) -> None:
        request = await a_request(backend)
        stub.answers.append(answer)
        with pytest.raises(kind) as caught:
            await spoken(backend, request)
        assert type(caught.value) is kind
        assert await spoken(backend, request) == SPEECH, "the next one works"

    async def test_ends_early_and_is_not_taken_for_whole(
        self, backend: HttpBackend, stub: SpeechServerStub
    ) -> None:
        async def breaks_off(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"content-type": "audio/pcm"})
            await response.prepare(request)
            await response.write(SPEECH[:1_000])
            assert request.transport is not None
            request.transport.close()
            return response

        await self.ends_as(backend, stub, breaks_off, SpeechInterruptedError)

    async def test_ends_in_half_a_sample(
        self, backend: HttpBackend, stub: SpeechServerStub
    ) -> None:
        await self.ends_as(
            backend, stub, lambda asked: stub.stream(asked, SPEECH[:-1]), SpeechInterruptedError
        )

    async def test_is_a_wav_file_that_says_it_is_longer(
        self, backend: HttpBackend, stub: SpeechServerStub
    ) -> None:
        wav = wav_of(SPEECH, 24_000)[:-100]
        await self.ends_as(
            backend,
            stub,
            lambda asked: stub.stream(asked, wav, "audio/wav"),
            SpeechInterruptedError,
        )

    async def test_is_empty(self, backend: HttpBackend, stub: SpeechServerStub) -> None:
        await self.ends_as(
            backend, stub, lambda asked: stub.stream(asked, b""), GenerationFailedError
        )

    async def test_is_a_web_page(self, backend: HttpBackend, stub: SpeechServerStub) -> None:
        await self.ends_as(
            backend,
            stub,
            lambda asked: stub.stream(asked, b"<html>", "text/html; charset=utf-8"),
            BackendBrokenError,
        )

    async def test_never_ends(self, backend: HttpBackend, stub: SpeechServerStub) -> None:
        async def never_ends(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"content-type": "audio/pcm"})
            await response.prepare(request)
            while True:
                await response.write(bytes(48_000))

        await self.ends_as(backend, stub, never_ends, SpeechRunsOnError)
        await until(lambda: stub.left == 1)

    async def test_leads_elsewhere_and_the_key_stays_here(
        self, backend: HttpBackend, stub: SpeechServerStub
    ) -> None:
        async def redirects(_request: web.Request) -> web.StreamResponse:
            raise web.HTTPTemporaryRedirect(f"{stub.url}/v1/elsewhere")

        await self.ends_as(backend, stub, redirects, BackendBrokenError)
        assert len(stub.asked) == 2, "nobody followed"


def wav_of(pcm: bytes, rate: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.frombuffer(pcm, "<i2"), rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


@pytest.mark.parametrize(
    ("media_type", "headers", "as_wav", "rate"),
    [
        ("audio/pcm;rate=16000;channels=1", {}, False, 16_000),
        ("audio/pcm", {"X-Sample-Rate": "44100"}, False, 44_100),
        ("application/octet-stream", {}, False, 24_000),
        ("audio/wav", {}, True, 48_000),
    ],
)
async def test_the_sample_rate_is_what_the_server_says(
    backend: HttpBackend,
    stub: SpeechServerStub,
    media_type: str,
    headers: dict[str, str],
    as_wav: bool,
    rate: int,
) -> None:
    request = await a_request(backend)
    body = wav_of(SPEECH, rate) if as_wav else SPEECH
    stub.answers.append(lambda asked: stub.stream(asked, body, media_type, **headers))
    chunks = [chunk async for chunk in backend.speak(request)]
    assert {chunk.sample_rate for chunk in chunks} == {rate}
    assert b"".join(chunk.pcm for chunk in chunks) == SPEECH


class TestWhoLeaves:
    """The server sees that the connection is closed, which ends its work."""

    async def test_in_the_middle_of_a_sentence(
        self, backend: HttpBackend, stub: SpeechServerStub
    ) -> None:
        request = await a_request(backend)
        stub.gate.clear()
        async with aclosing(backend.speak(request)) as chunks:
            await anext(chunks)
        await until(lambda: stub.left == 1)

    async def test_before_the_first_byte(
        self, backend: HttpBackend, stub: SpeechServerStub
    ) -> None:
        async def waits(_request: web.Request) -> web.StreamResponse:
            await asyncio.sleep(60)
            raise AssertionError

        request = await a_request(backend)
        stub.answers.append(waits)
        speaking = asyncio.create_task(spoken(backend, request))
        await until(lambda: bool(stub.asked))
        speaking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await speaking
        await until(lambda: stub.left == 1)

    async def test_because_the_bot_stops(
        self, backend: HttpBackend, stub: SpeechServerStub
    ) -> None:
        request = await a_request(backend)
        stub.gate.clear()
        async with aclosing(backend.speak(request)) as chunks:
            await anext(chunks)
            await backend.close()
            with pytest.raises(BackendUnavailableError, match="shutting down"):
                [chunk async for chunk in chunks]
        await until(lambda: stub.left == 1)
        with pytest.raises(BackendUnavailableError, match="shutting down"):
            await spoken(backend, request)


@pytest.mark.parametrize("deadline", ["FIRST_BYTE_WITHIN_SECONDS", "NEXT_BYTES_WITHIN_SECONDS"])
async def test_a_server_that_stalls_is_left(
    backend: HttpBackend,
    stub: SpeechServerStub,
    monkeypatch: pytest.MonkeyPatch,
    deadline: str,
) -> None:
    request = await a_request(backend)
    monkeypatch.setattr(server_module, deadline, 0.1)

    async def stalls(asked: web.Request) -> web.StreamResponse:
        if deadline.startswith("NEXT"):
            response = web.StreamResponse(headers={"content-type": "audio/pcm"})
            await response.prepare(asked)
            await response.write(SPEECH[:1_000])
        await asyncio.sleep(60)
        raise AssertionError

    stub.answers.append(stalls)
    with pytest.raises(SpeechTimeoutError):
        await spoken(backend, request)
    await until(lambda: stub.left == 1)


class TestTheServerIsAway:
    async def test_and_is_found_again(self, stub: SpeechServerStub) -> None:
        async def hangs_up(request: web.Request) -> web.StreamResponse:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()

        async with opened(stub.url) as backend:
            request = await a_request(backend)
            stub.answers.append(hangs_up)
            assert await spoken(backend, request) == SPEECH, "it was asked a second time"

    async def test_for_longer_and_is_left_alone_for_a_while(self) -> None:
        with capture_logs() as logs:
            async with opened("http://127.0.0.1:9") as backend:
                for _ in range(FAILURES_BEFORE_OPENING):
                    with pytest.raises(BackendUnreachableError):
                        await backend.prepare_voice(clip(), CONSENT)
                with pytest.raises(BackendUnreachableError) as caught:
                    await backend.health()
        assert caught.value.retry_after is not None, "nobody asked again"
        assert KEY not in f"{logs}{caught.value!r}"

    async def test_says_so_to_whoever_runs_the_bot(self, stub: SpeechServerStub) -> None:
        stub.key = "another"
        async with opened(stub.url) as backend:
            with pytest.raises(BackendDeniesError):
                await backend.health()
