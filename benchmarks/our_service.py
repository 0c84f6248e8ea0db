"""The engine behind the scheduler, asked as the bot asks it."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from backend.contract import ConsentRecord
from backend.engine import Engine, SpeechJob
from backend.scheduler import Scheduler, SchedulerLimits

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

_CONSENT = ConsentRecord(0, datetime(2026, 1, 1, tzinfo=UTC), "benchmark")
_CALLER = "benchmark"


class OurService:
    """A scheduler and an event loop to ask it from.

    Args:
        engine: Loaded; it is the scheduler's from now on.
        reference: The voice: mono samples in -1..1 at 24 kHz, shape (n,).
        transcript: What is said in it.
    """

    def __init__(self, engine: Engine, reference: NDArray[np.float32], transcript: str) -> None:
        self._prompt = engine.make_prompt(reference, transcript, _CONSENT)
        self._scheduler = Scheduler(engine, SchedulerLimits(waiting_per_caller=64))
        self._scheduler.start()
        self._runner = asyncio.Runner()

    def close(self) -> None:
        """End the scheduler."""
        self._runner.run(self._scheduler.close())
        self._runner.close()

    def speak_concurrently(self, texts: Sequence[str]) -> float:
        """Speak texts that arrive together; return the seconds of speech for a second of time."""
        began = time.perf_counter()
        seconds = sum(self._runner.run(self._speak_all(texts)))
        return seconds / (time.perf_counter() - began)

    def seconds_to_first_chunk(self, texts: Sequence[str]) -> float:
        """Ask for one text at a time; return the mean time until speech can begin to play."""
        began = time.perf_counter()
        for text in texts:
            self._runner.run(self._begin(text))
        return (time.perf_counter() - began) / len(texts)

    def speak_one_by_one(self, texts: Sequence[str]) -> float:
        """Ask for one text at a time; return the seconds of speech for a second of time."""
        began = time.perf_counter()
        seconds = sum(self._runner.run(self._speak(text)) for text in texts)
        return seconds / (time.perf_counter() - began)

    async def _speak_all(self, texts: Sequence[str]) -> list[float]:
        return await asyncio.gather(*map(self._speak, texts))

    async def _speak(self, text: str) -> float:
        job = SpeechJob(text, self._prompt)
        with self._scheduler.request(job, caller=_CALLER) as chunks:
            async for _ in chunks:
                pass
            return chunks.seconds_spoken

    async def _begin(self, text: str) -> None:
        job = SpeechJob(text, self._prompt)
        with self._scheduler.request(job, caller=_CALLER) as chunks:
            await anext(chunks)
