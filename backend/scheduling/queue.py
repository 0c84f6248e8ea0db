"""The queue of requests for the engine: bounded, fair between callers, and thread-safe."""

from __future__ import annotations

import math
import threading
from collections import Counter, deque
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from backend.contract import BackendBusyError, BackendUnavailableError, GenerationFailedError
from backend.scheduling.request import ScheduledPrompt, ScheduledRequest, ScheduledSpeech

T = TypeVar("T")

_RECENT = 32
"""The expected time of a request is the average of this many recent ones."""

_CLOSED = "the engine is shutting down"


class QueueFullError(Exception):
    """The queue is full, or this caller's share of it is."""


class FairQueue(Generic[T]):
    """A bounded queue that serves its callers round-robin. Each caller's items stay in order.

    The caller with the fewest running items is served first. Among callers with equally many, a new
    caller waits for at most one item of each of the others.

    Args:
        limit: The most items in the queue.
        limit_per_caller: The most items of one caller.
    """

    def __init__(self, *, limit: int, limit_per_caller: int) -> None:
        self._limit = limit
        self._limit_per_caller = limit_per_caller
        # In round-robin order. Callers without items are not in it.
        self._items: dict[str, deque[T]] = {}

    def push(self, caller: str, item: T) -> None:
        """Append an item to those of its caller. Raises `QueueFullError`."""
        items = self._items.get(caller, deque())
        if len(self) >= self._limit or len(items) >= self._limit_per_caller:
            raise QueueFullError
        items.append(item)
        self._items[caller] = items

    def next_caller(self, running: Counter[str]) -> str | None:
        """Return the caller to serve next; None if the queue is empty.

        Args:
            running: How many items each caller has running, which are no longer in the queue.
        """
        return min(self._items, key=lambda caller: running[caller], default=None)

    def pop(self, caller: str) -> T:
        """Remove and return the first item of a caller, who must have one.

        The caller moves to the end of the round-robin order.
        """
        items = self._items.pop(caller)
        item = items.popleft()
        if items:
            self._items[caller] = items
        return item

    def remove(self, caller: str, item: T) -> None:
        """Remove an item, if it is still in the queue."""
        items = self._items.get(caller, deque())
        if item in items:
            items.remove(item)
            if not items:
                del self._items[caller]

    def clear(self) -> list[T]:
        """Remove and return all items."""
        items = [item for own in self._items.values() for item in own]
        self._items.clear()
        return items

    def __len__(self) -> int:
        return sum(map(len, self._items.values()))


@dataclass(frozen=True, slots=True)
class SchedulerLimits:
    """How many requests may run and wait at once.

    Attributes:
        rows: The most sentences in one batch; at least one.
        waiting: The most waiting requests of each kind (speech, voice prompts). Further ones are
            refused.
        waiting_per_caller: The most waiting requests of each kind of one caller.
        step_seconds: A model that takes longer for one step hangs. Two slow cores may take half a
            minute for the prefill of a long prompt, or for a long reference clip: an estimate.
    """

    rows: int = 16
    waiting: int = 64
    waiting_per_caller: int = 16
    step_seconds: float = 120.0

    @property
    def rows_for_new_callers(self) -> int:
        """How many rows are reserved for callers without a running sentence.

        A quarter of the rows, rounded up. So a new caller starts at the next frame even while
        others generate for minutes, and one caller never takes both of two rows. With a single row
        the reservation has no effect, because its caller cannot have a second one.
        """
        return math.ceil(self.rows / 4)


@dataclass(frozen=True, slots=True)
class Load:
    """The engine's current load.

    Attributes:
        waiting: The number of waiting requests.
        running: The number of requests that the engine works on.
        seconds_per_request: The engine's time for a request, averaged over recent ones; None before
            the first one has ended.
    """

    waiting: int
    running: int
    seconds_per_request: float | None

    @property
    def seconds_left(self) -> float | None:
        """An estimate of the seconds until all requests are done."""
        pace = self.seconds_per_request
        return None if pace is None else pace * (self.waiting + self.running)


class RequestQueue:
    """The requests of all callers. One engine thread takes them.

    Args:
        limits: How many requests may run and wait at once.
    """

    def __init__(self, limits: SchedulerLimits) -> None:
        self._limits = limits
        bounds = {"limit": limits.waiting, "limit_per_caller": limits.waiting_per_caller}
        self._speech: FairQueue[ScheduledSpeech] = FairQueue(**bounds)
        self._prompts: FairQueue[ScheduledPrompt] = FairQueue(**bounds)
        self._running: set[ScheduledRequest[Any]] = set()
        self._recent_seconds: deque[float] = deque(maxlen=_RECENT)
        self._closed_because: str | None = None
        self._changed = threading.Condition()  # its lock is reentrant

    def put(self, request: ScheduledRequest[Any]) -> None:
        """Add a request.

        Raises `BackendBusyError` if the queue is full, and `BackendUnavailableError` once closed.
        """
        with self._changed:
            self._check_open()
            try:
                self._waiting(request).push(request.caller, request)
            except QueueFullError:
                raise BackendBusyError(self.load().seconds_left) from None
            self._changed.notify()

    def check_room(self) -> None:
        """Raise the error that `put` would raise for a sentence of a new caller, if any."""
        with self._changed:
            self._check_open()
            if len(self._speech) >= self._limits.waiting:
                raise BackendBusyError(self.load().seconds_left)

    def cancel(self, request: ScheduledRequest[Any]) -> None:
        """Remove a waiting request, or have the engine stop a running one."""
        with self._changed:
            request.is_over = True
            self._waiting(request).remove(request.caller, request)

    def expire(self, request: ScheduledRequest[Any]) -> None:
        """Fail a request whose deadline has passed."""
        with self._changed:
            if request in self._running:
                request.fail(GenerationFailedError("it was not done in the time allowed"))
            else:
                request.fail(BackendBusyError(self.load().seconds_left))
            self.cancel(request)

    def load(self) -> Load:
        """Return the engine's current load."""
        with self._changed:
            recent = self._recent_seconds
            return Load(
                waiting=len(self._speech) + len(self._prompts),
                running=len(self._running),
                seconds_per_request=sum(recent) / len(recent) if recent else None,
            )

    def close(self, reason: str = _CLOSED) -> None:
        """Fail all requests with `BackendUnavailableError`, and refuse new ones."""
        with self._changed:
            self._closed_because = self._closed_because or reason
            requests = set(self._running)
            requests.update(self._speech.clear(), self._prompts.clear())
            for request in requests:
                request.fail(BackendUnavailableError(self._closed_because))
            self._changed.notify()

    def wait_for_work(self) -> bool:
        """Block until a request waits or runs; return False once closed."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed_because or self._running or self._speech or self._prompts
            )
            return self._closed_because is None

    def take_prompt(self) -> ScheduledPrompt | None:
        """Take the next voice prompt out of the queue, and count it as running."""
        with self._changed:
            # Prompts are made one at a time, so no caller has one running.
            caller = self._prompts.next_caller(Counter())
            if caller is None:
                return None
            request = self._prompts.pop(caller)
            self._running.add(request)
            return request

    def take_speech(self) -> list[ScheduledSpeech]:
        """Take the sentences that get a row now out of the queue, and count them as running."""
        requests = []
        with self._changed:
            while (caller := self._next_speech_caller()) is not None:
                request = self._speech.pop(caller)
                self._running.add(request)
                requests.append(request)
        return requests

    def end(self, request: ScheduledRequest[Any]) -> None:
        """Record that the engine is done with a running request."""
        with self._changed:
            self._running.remove(request)
            self._recent_seconds.append(request.engine_seconds)

    def _check_open(self) -> None:
        if self._closed_because is not None:
            raise BackendUnavailableError(self._closed_because)

    def _waiting(self, request: ScheduledRequest[Any]) -> FairQueue[Any]:
        """The queue for a request of this kind."""
        return self._speech if isinstance(request, ScheduledSpeech) else self._prompts

    def _next_speech_caller(self) -> str | None:
        """The caller whose sentence gets the next row; None if none waits or no row is free."""
        rows = Counter(
            request.caller for request in self._running if isinstance(request, ScheduledSpeech)
        )
        caller = self._speech.next_caller(rows)
        if caller is None:
            return None
        kept_free = self._limits.rows_for_new_callers if rows[caller] else 0
        return caller if rows.total() < self._limits.rows - kept_free else None
