"""The scheduler's work, as whole answers and streams, and a watch over the model's health."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

from backend.contract import REFERENCE_SAMPLE_RATE, GenerationFailedError, SpeechError
from backend.reference.wav import write_wav
from backend.scheduling.scheduler import Scheduler, SchedulerLimits

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from backend.contract import ConsentRecord, PcmChunk, SpeechRequest, VoicePrompt
    from backend.engine.engine import Engine
    from backend.scheduling.scheduler import Load

_MAX_CRASHES = 3
"""A model that crashed so often in a row will not recover in this process."""


class Speaker:
    """Makes voice prompts and speaks, for any number of callers at once.

    Failures are what the scheduler says. A caller without a name is a caller of its own.

    Args:
        engine: Nothing else may use it from now on.
        on_breakdown: Called when the model keeps crashing: the process should be replaced.
        prompt_seconds: After which making a voice prompt fails; None for no such limit.
        speech_seconds: The same for a sentence.
    """

    def __init__(
        self,
        engine: Engine,
        on_breakdown: Callable[[], Awaitable[None]],
        *,
        prompt_seconds: float | None = None,
        speech_seconds: float | None = None,
    ) -> None:
        self._scheduler = Scheduler(engine, SchedulerLimits(rows=engine.rows))
        self._on_breakdown = on_breakdown
        self._prompt_seconds = prompt_seconds
        self._speech_seconds = speech_seconds
        self._scheduler.start()

    async def close(self) -> None:
        """Fail every call under way with `BackendUnavailableError`, and stop the engine."""
        await self._scheduler.close()

    def check_room(self) -> None:
        """Raise what a new request would get now, if it would be refused."""
        self._scheduler.check()

    def has_room(self) -> bool:
        """Whether a new request would be taken now."""
        try:
            self._scheduler.check()
        except SpeechError:
            return False
        return True

    def load(self) -> Load:
        """Say what there is to do now."""
        return self._scheduler.load()

    async def make_prompt(
        self,
        samples: NDArray[np.float32],
        transcript: str | None,
        consent: ConsentRecord | None,
        caller: str = "",
    ) -> VoicePrompt:
        """Make a voice prompt; `Engine.make_prompt` describes the arguments."""
        async with self._noticing_breakdown():
            return await self._scheduler.prompt(
                samples, transcript, consent, caller=_named(caller), deadline=self._prompt_seconds
            )

    async def stream(self, job: SpeechRequest, caller: str = "") -> AsyncGenerator[PcmChunk, None]:
        """Speak, chunk by chunk as it is made. Closing it stops the work."""
        async with self._noticing_breakdown():
            with self._scheduler.request(
                job, caller=_named(caller), deadline=self._speech_seconds
            ) as chunks:
                async for chunk in chunks:
                    yield chunk

    async def speak(self, job: SpeechRequest, caller: str = "") -> bytes:
        """Speak, and return a WAV file: mono, 16-bit, 24 kHz."""
        pcm = bytearray()
        async with aclosing(self.stream(job, caller)) as chunks:
            async for chunk in chunks:
                if chunk.restarts:
                    pcm.clear()
                pcm += chunk.pcm
        return write_wav(bytes(pcm), REFERENCE_SAMPLE_RATE)

    async def speak_all(self, jobs: Sequence[SpeechRequest]) -> list[bytes]:
        """Speak all of one caller's jobs, as WAV files, or fail as the first of them that fails."""
        caller = _named("")
        tasks = [asyncio.create_task(self.speak(job, caller)) for job in jobs]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    @asynccontextmanager
    async def _noticing_breakdown(self) -> AsyncIterator[None]:
        try:
            yield
        except GenerationFailedError:
            if self._scheduler.load().crashes_in_a_row >= _MAX_CRASHES:
                await self._on_breakdown()
            raise


def _named(caller: str) -> str:
    return caller or f"unnamed {uuid4().hex}"
