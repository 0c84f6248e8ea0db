"""The bot of one machine speaks through the HTTP API of another."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pytest

from backend.contract import (
    BackendBusyError,
    ConsentRecord,
    GenerationFailedError,
    ReferenceClip,
    ReferenceUnusableError,
    SpeechError,
    SpeechRequest,
)
from bot.audio.clip import to_flac, to_pcm16
from bot.speech.errors import BackendDeniesError, BackendQuotaError, SpeechInterruptedError
from bot.speech.http.backend import HttpBackend
from bot.speech.http.server import SpeechServer
from tests.support.api import ANA, KEYS, running_api
from tests.support.marking_backend import MarkingScriptedBackend
from tests.support.recordings import SENTENCES, speech

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.api import Api

CONSENT = ConsentRecord(7, datetime(2026, 11, 1, 12, 30, tzinfo=UTC), "2026-11")
TEXT = "The kettle is on, and the rain has stopped."


@pytest.fixture
def engine() -> MarkingScriptedBackend:
    """What speaks on the other machine."""
    return MarkingScriptedBackend()


@pytest.fixture
async def api(tmp_path: Path, engine: MarkingScriptedBackend) -> AsyncIterator[Api]:
    async with running_api(tmp_path, engine) as running:
        yield running


@asynccontextmanager
async def backend_with(api: Api, key: str) -> AsyncIterator[HttpBackend]:
    backend = HttpBackend(SpeechServer(api.url, key, calls=4), model="", voice="", calls=4)
    await backend.start()
    try:
        yield backend
    finally:
        await backend.close()


@pytest.fixture
async def backend(api: Api) -> AsyncIterator[HttpBackend]:
    async with backend_with(api, KEYS[ANA]) as backend:
        yield backend


async def a_request(backend: HttpBackend, transcript: str | None = SENTENCES[0]) -> SpeechRequest:
    clip = ReferenceClip(to_pcm16(speech(6.0)), transcript=transcript)
    voice = await backend.prepare_voice(clip, CONSENT)
    return SpeechRequest(TEXT, voice.prompt, "English", caller="server/person")


@pytest.mark.parametrize("transcript", [SENTENCES[0], None])
async def test_it_speaks_with_the_clip_that_was_sent(
    backend: HttpBackend, engine: MarkingScriptedBackend, transcript: str | None
) -> None:
    request = await a_request(backend, transcript)
    info = backend.info()
    assert (info.model_id, info.marks) == (f"{engine.model_id}@http", True)
    assert info.languages == engine.languages
    async with aclosing(backend.speak(request)) as chunks:
        pcm = b"".join([chunk.pcm async for chunk in chunks])
    assert np.abs(np.frombuffer(pcm, "<i2")).max() > 1_000
    assert engine.spoken == [TEXT]
    [clip] = engine.clips
    assert clip.transcript == transcript
    assert clip.seconds == pytest.approx(6.0, abs=1.0)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (BackendBusyError(7), BackendBusyError),
        (GenerationFailedError("nothing"), GenerationFailedError),
        (SpeechInterruptedError("gone"), SpeechInterruptedError),
        (BackendQuotaError("used up"), BackendQuotaError),
    ],
)
async def test_what_fails_there_fails_here_in_the_same_way(
    backend: HttpBackend,
    engine: MarkingScriptedBackend,
    error: SpeechError,
    kind: type[SpeechError],
) -> None:
    async def fails(_request: object) -> None:
        raise error

    request = await a_request(backend)
    engine.on_speak = fails
    with pytest.raises(kind) as caught:
        [chunk async for chunk in backend.speak(request)]
    assert type(caught.value) is kind


@pytest.mark.parametrize("is_marked", [True, False])
async def test_a_recording_is_searched_for_the_mark_there(
    backend: HttpBackend, engine: MarkingScriptedBackend, is_marked: bool
) -> None:
    engine.finds = is_marked
    flac = to_flac(to_pcm16(speech(6.0)))
    assert await backend.find_watermark(flac, caller="server/person") == is_marked
    assert len(engine.searched) == 1


async def test_a_clip_that_is_no_good_there_is_told_as_such(
    backend: HttpBackend, engine: MarkingScriptedBackend
) -> None:
    async def refuses(_clip: ReferenceClip) -> None:
        raise ReferenceUnusableError("too noisy")

    engine.on_prepare = refuses
    with pytest.raises(ReferenceUnusableError):
        [chunk async for chunk in backend.speak(await a_request(backend))]


async def test_who_leaves_here_stops_the_work_there(
    backend: HttpBackend, engine: MarkingScriptedBackend
) -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def waits(_request: object) -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    engine.on_speak = waits
    request = await a_request(backend)
    chunks = backend.speak(request)
    first = asyncio.ensure_future(anext(chunks))
    async with asyncio.timeout(20):
        await begun.wait()
        first.cancel()
        await cancelled.wait()
    await asyncio.wait([first])


async def test_another_key_is_not_let_in(api: Api) -> None:
    async with backend_with(api, "a-key-that-nobody-has-been-given") as backend:
        with pytest.raises(BackendDeniesError):
            await backend.health()
