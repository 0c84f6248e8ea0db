"""Many callers, one engine: sentences join at the next codec frame, and leave when they are done.

A loaded model serves one thread and is cheapest per sentence when it speaks many at once. So a
worker thread owns it, and goes round frame by frame: whatever has come meanwhile joins those who
speak, whatever is ready is handed out, whoever left is dropped. Where there is no row for a request
it waits, in a queue that is bounded and fair between callers.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backend.contract import BackendUnavailableError
from backend.scheduling.queue import RequestQueue, SchedulerLimits
from backend.scheduling.request import Progress, PromptTicket, SpeechTicket
from backend.scheduling.worker import EngineWorker

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import numpy as np
    from numpy.typing import NDArray

    from backend.contract import ConsentRecord, PcmChunk, SpeechRequest, VoicePrompt
    from backend.engine.engine import Engine

__all__ = ["Load", "Progress", "Scheduler", "SchedulerLimits", "SpeechTicket"]

_STEP_SECONDS = 30.0  # far beyond any single step of the model


@dataclass(frozen=True, slots=True)
class Load:
    """What the engine has to do now.

    Attributes:
        waiting: Requests that have not begun.
        begun: Requests that the engine works on.
        seconds_per_request: Of the engine's time, lately; None before the first request ended.
        crashes_in_a_row: Calls of the model that crashed since one last went well. If this grows,
            the process should be replaced.
    """

    waiting: int
    begun: int
    seconds_per_request: float | None
    crashes_in_a_row: int


class Scheduler:
    """Shares an engine between any number of tasks, on any number of event loops.

    Nothing here blocks an event loop. Every failure is a `backend.contract.SpeechError`:
    `BackendBusyError` where the queue is full or a request's turn did not come before its deadline,
    `BackendUnavailableError` once closed, `GenerationFailedError` where the model failed or was too
    slow, and whatever the engine says of a request.

    Args:
        engine: Nothing else may use it from now on.
        limits: How much may be under way at once.
    """

    def __init__(self, engine: Engine, limits: SchedulerLimits | None = None) -> None:
        limits = limits or SchedulerLimits()
        self._queue = RequestQueue(limits)
        self._worker = EngineWorker(engine, self._queue, rows=limits.rows)

    def start(self) -> None:
        """Begin to serve. Called once."""
        self._worker.start()

    async def close(self) -> None:
        """Fail every request at once with `BackendUnavailableError`, and wait for the engine.

        Raises `BackendUnavailableError` if the model does not come back from its last step.
        """
        self._queue.close()
        if not await asyncio.to_thread(self._worker.join, _STEP_SECONDS):
            raise BackendUnavailableError("the model hangs; its process should be ended")

    def check(self) -> None:
        """Raise what a new caller's request would get now, if it would be refused."""
        self._queue.check_room()

    def load(self) -> Load:
        """Say what the engine has to do now."""
        waiting, begun = self._queue.counts()
        return Load(
            waiting=waiting,
            begun=begun,
            seconds_per_request=self._queue.seconds_per_request(),
            crashes_in_a_row=self._worker.crashes_in_a_row,
        )

    async def prompt(
        self,
        reference: NDArray[np.float32],
        transcript: str | None,
        consent: ConsentRecord | None,
        *,
        caller: str,
        deadline: float | None = None,
    ) -> VoicePrompt:
        """Make a voice prompt; `Engine.make_prompt` describes the first three arguments.

        Args:
            reference: The reference audio.
            transcript: What is said in it, if that is known.
            consent: What the voice rests on.
            caller: Whose turn this takes.
            deadline: The seconds after which it fails; None for no such limit.
        """
        ticket = PromptTicket(
            reference, transcript, consent, caller, queue=self._queue, deadline=deadline
        )
        with ticket:
            return await anext(ticket)

    def request(
        self, job: SpeechRequest, *, caller: str, deadline: float | None = None
    ) -> SpeechTicket:
        """Prepare to have a sentence spoken, and to watch how it comes along.

        To be used as `with scheduler.request(...) as speech: async for chunk in speech`. Entering
        asks for it and leaving stops it; `speech.progress` tells how far it is.

        Args:
            job: What to say, and how.
            caller: Whose turn this takes.
            deadline: The seconds after which it fails; None for no such limit.
        """
        return SpeechTicket(job, caller, queue=self._queue, deadline=deadline)

    async def speak(
        self, job: SpeechRequest, *, caller: str, deadline: float | None = None
    ) -> AsyncGenerator[PcmChunk, None]:
        """Speak a sentence, chunk by chunk as it is made. Closing the iterator stops the work.

        Takes the same arguments as `request`.
        """
        with self.request(job, caller=caller, deadline=deadline) as speech:
            async for chunk in speech:
                yield chunk
