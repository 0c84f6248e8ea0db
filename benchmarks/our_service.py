"""The engine with its scheduler, as the service uses it."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from datetime import UTC, datetime
from statistics import fmean
from typing import TYPE_CHECKING, TypeVar

from backend.contract import ConsentRecord, SpeechRequest
from backend.scheduling.scheduler import Scheduler, SchedulerLimits

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from backend.engine.engine import Engine

CONSENT = ConsentRecord(0, datetime(2026, 1, 1, tzinfo=UTC), "benchmark")
_CALLER = "benchmark"

Result = TypeVar("Result")


class OurService:
    """A scheduler, and an event loop for its callers.

    Args:
        engine: A loaded engine; nothing else may use it from now on.
        reference: The voice: mono samples in -1..1 at 24 kHz, shape (n,).
        transcript: What is said in it.
    """

    def __init__(self, engine: Engine, reference: NDArray[np.float32], transcript: str) -> None:
        self._prompt = engine.make_prompt(reference, transcript, CONSENT)
        self._scheduler = Scheduler(engine, SchedulerLimits(waiting_per_caller=64))
        self._runner = asyncio.Runner()

    def close(self) -> None:
        """Close the scheduler and the event loop."""
        self.run(self._scheduler.close())
        self._runner.close()

    def speak_concurrently(self, texts: Sequence[str]) -> float:
        """Request texts all at once; return the seconds of speech per second of time."""
        began = time.perf_counter()
        seconds = sum(self.run(self._speak_all(texts)))
        return seconds / (time.perf_counter() - began)

    def seconds_to_first_chunk(self, texts: Sequence[str]) -> float:
        """Request one text at a time; return the mean time until playback can begin."""
        return fmean(self.run(self.time_to_first_chunk(text)) for text in texts)

    def speak_one_by_one(self, texts: Sequence[str]) -> float:
        """Request one text at a time; return the seconds of speech per second of time."""
        began = time.perf_counter()
        seconds = sum(self.run(self._speak(text)) for text in texts)
        return seconds / (time.perf_counter() - began)

    def run(self, work: Coroutine[object, object, Result]) -> Result:
        """Run a coroutine on the event loop, and wait for it."""
        return self._runner.run(work)

    async def listen(self, text: str, caller: str = _CALLER) -> AsyncGenerator[float, None]:
        """Request a text; yield the seconds of speech so far at each chunk. Closing cancels it."""
        with self._scheduler.submit(SpeechRequest(text, self._prompt, caller=caller)) as chunks:
            async for chunk in chunks:
                samples = (chunk.first_sample or 0) + len(chunk.pcm) // 2
                yield samples / chunk.sample_rate

    async def time_to_first_chunk(self, text: str, caller: str = _CALLER) -> float:
        """Request a text, and cancel it at its first chunk; return the seconds until then."""
        began = time.perf_counter()
        async with aclosing(self.listen(text, caller)) as speech:
            await anext(speech)
            return time.perf_counter() - began

    async def _speak_all(self, texts: Sequence[str]) -> list[float]:
        return await asyncio.gather(*map(self._speak, texts))

    async def _speak(self, text: str) -> float:
        async with aclosing(self.listen(text)) as speech:
            return max([seconds async for seconds in speech])
