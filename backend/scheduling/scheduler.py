"""Continuous batching: requests of many callers share one engine.

A loaded model can be used by one thread only, and a batch takes little longer than one sentence. So
one worker thread owns the engine, and generates all running sentences together, one codec frame at
a time. Between two frames it adds waiting requests to the batch, and removes finished and cancelled
ones. Another thread reads the requests, so that no frame waits for that. If no row is free, a
request waits in a queue that is bounded and fair between callers.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from backend.contract import BackendUnavailableError
from backend.scheduling.queue import Load, RequestQueue, SchedulerLimits
from backend.scheduling.request import ScheduledPrompt, ScheduledRequest, ScheduledSpeech
from backend.scheduling.worker import EngineWorker

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from backend.contract import ConsentRecord, SpeechRequest, VoicePrompt
    from backend.engine.interface import SpeechEngine

__all__ = ["Load", "Scheduler", "SchedulerLimits"]

_LAST_STEP_SECONDS = 30.0  # a process that ends waits for its last step, but no longer
_MAX_CRASHES = 3  # a model that crashed this often in a row will not recover in this process

Request = TypeVar("Request", bound=ScheduledRequest[Any])


class Scheduler:
    """Shares an engine between any number of tasks, on any number of event loops.

    Nothing here blocks an event loop. Every failure is a `backend.contract.SpeechError`:
    `BackendBusyError` if the queue is full, if a request still waits at its deadline or if memory
    runs out, `BackendUnavailableError` once closed or if the GPU is lost, `GenerationFailedError`
    if the model failed or was too slow, and whatever the engine raises for a request.

    Args:
        engine: Nothing else may use it from now on.
        limits: How many requests may run and wait at once.
    """

    def __init__(self, engine: SpeechEngine, limits: SchedulerLimits | None = None) -> None:
        limits = limits or SchedulerLimits()
        self._queue = RequestQueue(limits)
        self._engine = engine
        self._step_seconds = limits.step_seconds
        self._reader = ThreadPoolExecutor(1, "requests")
        self._worker = EngineWorker(engine, self._queue, rows=limits.rows)

    async def close(self) -> None:
        """Fail all requests at once with `BackendUnavailableError`, and wait for the engine.

        Raises `BackendUnavailableError` if the model's last step does not return in time.
        """
        self._queue.close()
        if not await asyncio.to_thread(self._worker.join, _LAST_STEP_SECONDS):
            raise BackendUnavailableError("the model hangs; its process should be ended")

    def check_room(self) -> None:
        """Raise the error that a new caller's request would get now, if it would be refused.

        While the model hangs, nothing is accepted.
        """
        if self._is_stuck:
            raise BackendUnavailableError("no step of the model ends; its process should be ended")
        self._queue.check_room()

    def load(self) -> Load:
        """Return the engine's current load."""
        return self._queue.load()

    @property
    def crashes_in_a_row(self) -> int:
        """How many calls of the model have crashed since the last success."""
        return self._worker.crashes_in_a_row

    @property
    def is_beyond_repair(self) -> bool:
        """Whether the process should be replaced.

        That is so if the GPU is lost, if the model keeps crashing, or if it hangs.
        """
        has_crashed = self._worker.has_lost_gpu or self.crashes_in_a_row >= _MAX_CRASHES
        return has_crashed or self._is_stuck

    @property
    def step_under_way(self) -> int | None:
        """The number of the engine's present step, or None if it has nothing to do.

        While it stays the same, no frame ends and no voice prompt is made.
        """
        return self._worker.step_under_way

    @property
    def _is_stuck(self) -> bool:
        return self._worker.step_seconds > self._step_seconds

    async def make_prompt(
        self,
        samples: NDArray[np.float32],
        transcript: str | None,
        consent: ConsentRecord | None,
        *,
        caller: str,
        deadline: float | None = None,
    ) -> VoicePrompt:
        """Make a voice prompt; `Engine.make_prompt` describes the first three arguments.

        Args:
            samples: The reference clip.
            transcript: What is said in it, if that is known.
            consent: Who attested that the voice may be cloned.
            caller: The caller that the request counts for.
            deadline: The seconds after which it fails; None for no such limit.
        """
        request = ScheduledPrompt(samples, transcript, consent, caller)
        with self._scheduled(request, deadline) as prompts:
            return await anext(prompts)

    @contextmanager
    def submit(
        self, request: SpeechRequest, *, deadline: float | None = None
    ) -> Iterator[ScheduledSpeech]:
        """Return a context manager whose value is the stream of a sentence's chunks.

        Entering the context puts the request into the queue, and has it read while it waits.
        Leaving it cancels the request, unless it is done.

        Args:
            request: The text, the voice prompt and the options.
            deadline: The seconds after which it fails; None for no such limit.
        """
        with self._scheduled(ScheduledSpeech(request), deadline) as speech:
            self._reader.submit(speech.read, self._engine)
            yield speech

    @contextmanager
    def _scheduled(self, request: Request, deadline: float | None) -> Iterator[Request]:
        self._queue.put(request)
        loop = asyncio.get_running_loop()
        timer = None
        if deadline is not None:
            timer = loop.call_later(deadline, self._queue.expire, request)
        try:
            yield request
        finally:
            if timer is not None:
                timer.cancel()
            self._queue.cancel(request)
