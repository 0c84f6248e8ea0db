"""Where requests wait for the engine: bounded, fair between callers, and safe between threads."""

from __future__ import annotations

import math
import threading
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backend.contract import BackendBusyError, BackendUnavailableError
from backend.scheduling.fair_queue import FairQueue, QueueFullError
from backend.scheduling.request import PromptTicket, SpeechTicket

if TYPE_CHECKING:
    from backend.scheduling.request import Ticket

_RECENT = 32
_CLOSED = "the engine is shutting down"


@dataclass(frozen=True, slots=True)
class SchedulerLimits:
    """How much may be under way at once.

    Attributes:
        rows: The sentences that are spoken together; at least one.
        waiting: The requests of a kind (speech, voice prompts) that may wait; one more is refused.
        waiting_per_caller: How many of them may belong to one caller.
    """

    rows: int = 16
    waiting: int = 64
    waiting_per_caller: int = 16

    @property
    def rows_for_newcomers(self) -> int:
        """The rows that only a caller of whom nothing is being spoken may take.

        A quarter, so that a few can join at the next frame though others speak for minutes. It is
        rounded up, so that even of two rows one caller never takes both. Of a single row it takes
        nothing away: whoever has it can have no second one.
        """
        return math.ceil(self.rows / 4)


class RequestQueue:
    """Tickets that wait for one engine thread, which takes them from here and says when they end.

    Args:
        limits: How much may be under way at once.
    """

    def __init__(self, limits: SchedulerLimits) -> None:
        self._limits = limits
        bounds = {"limit": limits.waiting, "limit_per_caller": limits.waiting_per_caller}
        self._speeches: FairQueue[SpeechTicket] = FairQueue(**bounds)
        self._prompts: FairQueue[PromptTicket] = FairQueue(**bounds)
        self._lines: dict[type[Ticket[Any]], FairQueue[Any]] = {
            SpeechTicket: self._speeches,
            PromptTicket: self._prompts,
        }
        self._begun: set[Ticket[Any]] = set()
        self._recent_seconds: deque[float] = deque(maxlen=_RECENT)  # of the engine's time
        self._is_closed = False
        self._changed = threading.Condition()

    def put(self, ticket: Ticket[Any]) -> None:
        """Add a request.

        Raises `BackendBusyError` if there is no room, and `BackendUnavailableError` once closed.
        """
        with self._changed:
            if self._is_closed:
                raise BackendUnavailableError(_CLOSED)
            try:
                self._lines[type(ticket)].push(ticket.caller, ticket)
            except QueueFullError:
                raise BackendBusyError(self.retry_after()) from None
            self._changed.notify()

    def check_room(self) -> None:
        """Raise what `put` would raise for a sentence of somebody who asks for nothing else."""
        with self._changed:
            if self._is_closed:
                raise BackendUnavailableError(_CLOSED)
            if len(self._speeches) >= self._limits.waiting:
                raise BackendBusyError(self.retry_after())

    def withdraw(self, ticket: Ticket[Any]) -> None:
        """Free a request's place, or have the engine drop what it does for it."""
        with self._changed:
            ticket.is_over = True
            self._lines[type(ticket)].remove(ticket.caller, ticket)

    def ahead_of(self, ticket: Ticket[Any]) -> int:
        """Count the requests that are taken before this one, as of now; 0 if it waits no more."""
        with self._changed:
            kind = type(ticket)
            line = self._lines[kind].in_order(self._under_way(kind))
            return next((ahead for ahead, other in enumerate(line) if other is ticket), 0)

    def retry_after(self) -> float | None:
        """Estimate the seconds until all requests are done; None before any was."""
        with self._changed:
            pace = self.seconds_per_request()
            return None if pace is None else pace * sum(self.counts())

    def counts(self) -> tuple[int, int]:
        """Count the requests that wait, and those that have begun."""
        with self._changed:
            return len(self._speeches) + len(self._prompts), len(self._begun)

    def close(self) -> None:
        """Fail every request, and refuse what comes."""
        with self._changed:
            self._is_closed = True
            lines = self._lines.values()
            waiting = (ticket for line in lines for ticket in line.in_order(Counter()))
            for ticket in (*waiting, *self._begun):
                ticket.fail(BackendUnavailableError(_CLOSED))
            self._changed.notify()

    def wait_for_work(self) -> bool:
        """Sleep until there is something to do; return False once closed."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._is_closed or self._begun or self._speeches or self._prompts
            )
            return not self._is_closed

    def take_prompt(self) -> PromptTicket | None:
        """Take the voice prompt that is made next."""
        with self._changed:
            caller = self._prompts.next_caller(Counter())
            if self._is_closed or caller is None:
                return None
            ticket = self._prompts.pop(caller)
            self._begin(ticket)
            return ticket

    def take_speeches(self) -> list[SpeechTicket]:
        """Take the sentences that join now, for which there are rows."""
        tickets = []
        with self._changed:
            while not self._is_closed and (caller := self._next_speaker()) is not None:
                ticket = self._speeches.pop(caller)
                self._begin(ticket)
                tickets.append(ticket)
        return tickets

    def end(self, ticket: Ticket[Any]) -> None:
        """Note that the engine is done with a ticket."""
        with self._changed:
            self._begun.remove(ticket)
            self._recent_seconds.append(ticket.engine_seconds)

    def seconds_per_request(self) -> float | None:
        """Give the engine's time for one request, lately; None before anything ended."""
        with self._changed:
            recent = self._recent_seconds
            return sum(recent) / len(recent) if recent else None

    def _begin(self, ticket: Ticket[Any]) -> None:
        ticket.has_begun = True
        self._begun.add(ticket)

    def _next_speaker(self) -> str | None:
        """Say whose sentence joins next; None if there is none, or no row for it."""
        rows = self._under_way(SpeechTicket)
        caller = self._speeches.next_caller(rows)
        if caller is None:
            return None
        kept_free = self._limits.rows_for_newcomers if rows[caller] else 0
        return caller if rows.total() < self._limits.rows - kept_free else None

    def _under_way(self, kind: type[Ticket[Any]]) -> Counter[str]:
        """Count the requests of a kind that have begun, by their callers."""
        return Counter(ticket.caller for ticket in self._begun if isinstance(ticket, kind))
