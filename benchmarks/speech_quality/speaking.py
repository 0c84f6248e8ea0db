"""Has a backend say every sentence in every voice."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np
import soxr

from backend.contract import (
    REFERENCE_SAMPLE_RATE,
    BackendBusyError,
    BackendUnavailableError,
    ReferenceClip,
    SpeechError,
    SpeechRequest,
    SpeechRunsOnError,
)
from benchmarks.our_service import CONSENT

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

    from numpy.typing import NDArray

    from backend.contract import VoicePrompt
    from benchmarks.speech_quality.backends import Filter
    from bot.speech.backend import SpeechBackend

RETRY_AFTER_SECONDS = (2.0, 10.0)
"""How long to wait before each further attempt where the backend is busy or not there. A run takes
long, and one lost connection should not end it."""

_CALLER = "benchmark"


@dataclass(frozen=True, slots=True)
class Line:
    """One sentence to say in one voice.

    Attributes:
        voice: The recording's key.
        sentence: What to say.
        take: Which of several attempts with different seeds.
    """

    voice: str
    sentence: str
    take: int = 0

    @property
    def seed(self) -> int:
        """The seed of the request, which is the same with every setting."""
        return crc32(f"{self.voice}\n{self.sentence}\n{self.take}".encode())


@dataclass(frozen=True, slots=True)
class Speech:
    """What came of it.

    Attributes:
        samples: `(n,)`, mono at `REFERENCE_SAMPLE_RATE`; empty if nothing usable came.
        ran_on: Whether the speech did not end at the first attempt.
        problem: The error's name, if it failed.
    """

    samples: NDArray[np.float32] = field(repr=False)
    ran_on: bool = False
    problem: str | None = None


async def prepare(backend: SpeechBackend, pcm: bytes, transcript: str | None) -> VoicePrompt:
    """Make a voice prompt. Raises `SpeechError` if that cannot be done."""
    clip = ReferenceClip(pcm, REFERENCE_SAMPLE_RATE, transcript)
    return (await backend.prepare_voice(clip, CONSENT)).prompt


async def speak_all(
    backend: SpeechBackend,
    lines: Iterable[Line],
    prompts: dict[str, VoicePrompt],
    *,
    language: str,
    change: Filter | None = None,
) -> AsyncGenerator[tuple[Line, Speech], None]:
    """Yield the speech of each line, in order, while later ones are being made.

    Args:
        backend: A started backend.
        lines: What to say.
        prompts: The voice prompt for each voice.
        language: What to ask the backend for.
        change: What to do to every speech, if anything.

    Raises `BackendUnavailableError` or `BackendBusyError` if the backend stays away or busy. What
    else goes wrong counts as that speech's problem.
    """
    slots = asyncio.Semaphore(max(1, backend.info().sentences_at_once))

    async def speak(line: Line) -> Speech:
        async with slots:
            request = SpeechRequest(
                line.sentence, prompts[line.voice], language, line.seed, caller=_CALLER
            )
            speech = await _patiently(backend, request)
        if change is None or not len(speech.samples):
            return speech
        changed = await asyncio.to_thread(change, speech.samples, line.voice)
        return Speech(changed, speech.ran_on, speech.problem)

    tasks = [(line, asyncio.create_task(speak(line))) for line in lines]
    try:
        for line, task in tasks:
            yield line, await task
    finally:
        for _, task in tasks:
            task.cancel()
        await asyncio.gather(*(task for _, task in tasks), return_exceptions=True)


async def _patiently(backend: SpeechBackend, request: SpeechRequest) -> Speech:
    for pause in RETRY_AFTER_SECONDS:
        try:
            return await _speech_of(backend, request)
        except (BackendUnavailableError, BackendBusyError):
            await asyncio.sleep(pause)
    return await _speech_of(backend, request)


async def _speech_of(backend: SpeechBackend, request: SpeechRequest) -> Speech:
    parts: list[bytes] = []
    rate, ran_on = REFERENCE_SAMPLE_RATE, False
    try:
        async with aclosing(backend.speak(request)) as chunks:
            async for chunk in chunks:
                rate = chunk.sample_rate
                if chunk.restarts:
                    ran_on = True
                    parts.clear()
                parts.append(chunk.pcm)
    except (BackendUnavailableError, BackendBusyError):
        raise
    except SpeechError as error:
        return Speech(
            np.zeros(0, np.float32),
            ran_on=ran_on or isinstance(error, SpeechRunsOnError),
            problem=type(error).__name__,
        )
    samples = np.frombuffer(b"".join(parts), "<i2").astype(np.float32) / 32_768
    return Speech(soxr.resample(samples, rate, REFERENCE_SAMPLE_RATE), ran_on)
