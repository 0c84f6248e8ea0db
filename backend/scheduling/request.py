"""A request under way: the engine's thread writes to it, the caller's event loop reads from it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from backend.contract import (
    BackendBusyError,
    GenerationFailedError,
    PcmChunk,
    SpeechError,
    VoicePrompt,
)

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from numpy.typing import NDArray

    from backend.contract import ConsentRecord, SpeechRequest
    from backend.engine.interface import SpeechChunk
    from backend.scheduling.queue import RequestQueue

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a request has come.

    Attributes:
        ahead: How many requests are taken up before it; 0 once it has begun.
        has_begun: Whether the engine works on it, or has.
        seconds_spoken: How much speech was made for it so far.
    """

    ahead: int
    has_begun: bool
    seconds_spoken: float


class Ticket(Generic[Result]):
    """What one caller asked for, and its results as they are made.

    Used once, in `with`: entering puts it into the queue, or raises `BackendBusyError` or
    `BackendUnavailableError`; leaving stops what is still to be done. Inside, one task reads the
    results with `async for`. They wait in the ticket for a slow reader, so that one never holds up
    the others; how many there can be is bounded by the work itself.

    Must be made in a running event loop. `deliver`, `finish` and `fail` may be called from any
    thread; what comes after the first end is ignored.

    Args:
        caller: Whose turn it takes.
        queue: Where it is put.
        deadline: The seconds after which it fails; None for no such limit.

    Attributes:
        has_begun: Whether the engine works on it, or has.
        is_over: Whether it came to any end, so that nothing more needs to be done for it.
        seconds_spoken: How much speech was made for it so far.
        engine_seconds: What it cost of the engine's time so far. Requests that are worked on
            together share the time.
    """

    def __init__(self, caller: str, *, queue: RequestQueue, deadline: float | None) -> None:
        self.caller = caller
        self.has_begun = False
        self.is_over = False
        self.seconds_spoken = 0.0
        self.engine_seconds = 0.0
        self._queue = queue
        self._results: asyncio.Queue[Result | SpeechError | None] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._deadline = deadline
        self._timer: asyncio.TimerHandle | None = None

    @property
    def progress(self) -> Progress:
        """How far it has come, as of now."""
        return Progress(self._queue.ahead_of(self), self.has_begun, self.seconds_spoken)

    def deliver(self, result: Result) -> None:
        """Hand over a part of the result."""
        if not self.is_over:
            self._post(result)

    def finish(self) -> None:
        """Say that all of the result was delivered."""
        self._end(None)

    def fail(self, error: SpeechError) -> None:
        """Say why there is no more to come."""
        self._end(error)

    def __enter__(self) -> Self:
        self._queue.put(self)
        if self._deadline is not None:
            self._timer = self._loop.call_later(self._deadline, self._expire)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._queue.withdraw(self)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Result:
        result = await self._results.get()
        if result is None:
            raise StopAsyncIteration
        if isinstance(result, SpeechError):
            raise result
        return result

    def _end(self, last: SpeechError | None) -> None:
        if not self.is_over:
            self.is_over = True
            self._post(last)

    def _post(self, message: Result | SpeechError | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._results.put_nowait, message)
        except RuntimeError:  # the caller's event loop is closed: nobody is left to tell
            self.is_over = True

    def _expire(self) -> None:
        if self.has_begun:
            self.fail(GenerationFailedError("it was not done in the time allowed"))
        else:
            self.fail(BackendBusyError(self._queue.retry_after()))
        self._queue.withdraw(self)


class SpeechTicket(Ticket[PcmChunk]):
    """A sentence to be spoken.

    Args:
        job: What to say, and how.
        caller: As for every ticket.
        queue: As for every ticket.
        deadline: As for every ticket.
    """

    def __init__(
        self, job: SpeechRequest, caller: str, *, queue: RequestQueue, deadline: float | None
    ) -> None:
        super().__init__(caller, queue=queue, deadline=deadline)
        self.job = job
        self._samples = 0

    def deliver_chunk(self, chunk: SpeechChunk, sample_rate: int) -> None:
        """Hand over a chunk of the engine's, whose samples have this rate in Hz."""
        if chunk.restarts:
            self._samples = 0
        first, self._samples = self._samples, self._samples + len(chunk.samples)
        self.seconds_spoken = self._samples / sample_rate
        if chunk.restarts or len(chunk.samples):
            pcm = (np.clip(chunk.samples, -1, 1) * 32_767).astype("<i2").tobytes()
            self.deliver(PcmChunk(pcm, sample_rate, chunk.restarts, first))


class PromptTicket(Ticket[VoicePrompt]):
    """A voice prompt to be made; its one result is the prompt.

    Args:
        reference: The clip: mono samples in -1..1, shape (n,), at the engine's sample rate.
        transcript: What is said in it, if that is known.
        consent: What the voice rests on.
        caller: As for every ticket.
        queue: As for every ticket.
        deadline: As for every ticket.
    """

    def __init__(  # noqa: PLR0913 - a request has this many parts
        self,
        reference: NDArray[np.float32],
        transcript: str | None,
        consent: ConsentRecord | None,
        caller: str,
        *,
        queue: RequestQueue,
        deadline: float | None,
    ) -> None:
        super().__init__(caller, queue=queue, deadline=deadline)
        self.reference = reference
        self.transcript = transcript
        self.consent = consent
