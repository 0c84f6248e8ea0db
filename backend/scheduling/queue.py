"""Where requests wait for the engine: bounded, fair between callers, and safe between threads."""

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
"""How many of the latest requests the estimate of their cost rests on."""

_CLOSED = "the engine is shutting down"


class QueueFullError(Exception):
    """The queue is full, or this caller's share of it is."""


class FairQueue(Generic[T]):
    """A bounded queue that serves its callers round-robin. Each caller's items stay in order.

    The caller with the fewest running items comes first. Among callers with equally many, a new
    caller waits for at most one item of each of the others.

    Args:
        limit: How many items fit in.
        limit_per_caller: How many of them may belong to one caller.
    """

    def __init__(self, *, limit: int, limit_per_caller: int) -> None:
        self._limit = limit
        self._limit_per_caller = limit_per_caller
        # In round-robin order. Callers without items are not in it.
        self._items: dict[str, deque[T]] = {}

    def push(self, caller: str, item: T) -> None:
        """Put an item behind its caller's other items, or raise `QueueFullError`."""
        items = self._items.get(caller, deque())
        if len(self) >= self._limit or len(items) >= self._limit_per_caller:
            raise QueueFullError
        items.append(item)
        self._items[caller] = items

    def next_caller(self, running: Counter[str]) -> str | None:
        """Name the caller who is served next; None if the queue is empty.

        Args:
            running: How many items of each caller have been taken and are not done yet.
        """
        return min(self._items, key=lambda caller: running[caller], default=None)

    def pop(self, caller: str) -> T:
        """Take a caller's first item, which must exist, and put the caller behind the others."""
        items = self._items.pop(caller)
        item = items.popleft()
        if items:
            self._items[caller] = items
        return item

    def remove(self, caller: str, item: T) -> None:
        """Take an item out, wherever it is; it may have left already."""
        items = self._items.get(caller, deque())
        if item in items:
            items.remove(item)
            if not items:
                del self._items[caller]

    def clear(self) -> list[T]:
        """Take all items out."""
        items = [item for own in self._items.values() for item in own]
        self._items.clear()
        return items

    def __len__(self) -> int:
        return sum(map(len, self._items.values()))


@dataclass(frozen=True, slots=True)
class SchedulerLimits:
    """How many requests may run and wait at once.

    Attributes:
        rows: The sentences that are spoken in one batch; at least one.
        waiting: The requests of a kind (speech, voice prompts) that may wait; one more is refused.
        waiting_per_caller: How many of them may belong to one caller.
    """

    rows: int = 16
    waiting: int = 64
    waiting_per_caller: int = 16

    @property
    def rows_for_new_callers(self) -> int:
        """The rows that only a caller without a running sentence may take.

        A quarter of the rows, so that new callers start at the next frame even while others speak
        for minutes. It is rounded up: one caller never takes both of two rows. With a single row
        the rule changes nothing, because its caller cannot have a second one.
        """
        return math.ceil(self.rows / 4)


@dataclass(frozen=True, slots=True)
class Load:
    """What the engine has to do now.

    Attributes:
        waiting: Requests that wait.
        running: Requests that the engine works on.
        seconds_per_request: Of the engine's time, lately; None before the first request ended.
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
    """The requests of all callers, from which one engine thread takes its work.

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
        self._is_closed = False
        self._changed = threading.Condition()  # its lock is reentrant

    def put(self, request: ScheduledRequest[Any]) -> None:
        """Add a request.

        Raises `BackendBusyError` if there is no room, and `BackendUnavailableError` once closed.
        """
        with self._changed:
            self._check_open()
            try:
                self._waiting(request).push(request.caller, request)
            except QueueFullError:
                raise BackendBusyError(self.load().seconds_left) from None
            self._changed.notify()

    def check_room(self) -> None:
        """Raise what `put` would raise for a sentence of a caller who has no other requests."""
        with self._changed:
            self._check_open()
            if len(self._speech) >= self._limits.waiting:
                raise BackendBusyError(self.load().seconds_left)

    def cancel(self, request: ScheduledRequest[Any]) -> None:
        """Take a waiting request out, or have the engine stop a running one."""
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
        """Say what the engine has to do now."""
        with self._changed:
            recent = self._recent_seconds
            return Load(
                waiting=len(self._speech) + len(self._prompts),
                running=len(self._running),
                seconds_per_request=sum(recent) / len(recent) if recent else None,
            )

    def close(self) -> None:
        """Fail all requests, and refuse new ones."""
        with self._changed:
            self._is_closed = True
            requests = set(self._running)
            requests.update(self._speech.clear(), self._prompts.clear())
            for request in requests:
                request.fail(BackendUnavailableError(_CLOSED))
            self._changed.notify()

    def wait_for_work(self) -> bool:
        """Sleep until a request waits or runs; return False once closed."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._is_closed or self._running or self._speech or self._prompts
            )
            return not self._is_closed

    def take_prompt(self) -> ScheduledPrompt | None:
        """Take the voice prompt to make next; from then on it runs."""
        with self._changed:
            # Prompts are made one at a time, so no caller has one running.
            caller = self._prompts.next_caller(Counter())
            if caller is None:
                return None
            request = self._prompts.pop(caller)
            self._running.add(request)
            return request

    def take_speech(self) -> list[ScheduledSpeech]:
        """Take the sentences that get a row now; from then on they run."""
        requests = []
        with self._changed:
            while (caller := self._next_speaker()) is not None:
                request = self._speech.pop(caller)
                self._running.add(request)
                requests.append(request)
        return requests

    def end(self, request: ScheduledRequest[Any]) -> None:
        """Note that the engine is done with a running request."""
        with self._changed:
            self._running.remove(request)
            self._recent_seconds.append(request.engine_seconds)

    def _check_open(self) -> None:
        if self._is_closed:
            raise BackendUnavailableError(_CLOSED)

    def _waiting(self, request: ScheduledRequest[Any]) -> FairQueue[Any]:
        """The queue for a request of this kind."""
        return self._speech if isinstance(request, ScheduledSpeech) else self._prompts

    def _next_speaker(self) -> str | None:
        """The caller whose sentence gets the next row; None if none waits or no row is free."""
        rows = Counter(
            request.caller for request in self._running if isinstance(request, ScheduledSpeech)
        )
        caller = self._speech.next_caller(rows)
        if caller is None:
            return None
        kept_free = self._limits.rows_for_new_callers if rows[caller] else 0
        return caller if rows.total() < self._limits.rows - kept_free else None
