"""Where requests wait for the engine: bounded, fair between callers, and safe between threads."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backend.contract import BackendBusyError, BackendUnavailableError
from backend.fair_queue import FairQueue, QueueFullError
from backend.scheduler_ticket import PromptTicket, SpeechTicket

if TYPE_CHECKING:
    from backend.scheduler_ticket import Ticket

_RECENT_ENDS = 32
_CLOSED = "the engine is shutting down"


@dataclass(frozen=True, slots=True)
class SchedulerLimits:
    """How much may be under way at once.

    Attributes:
        rows: The sentences of one batch.
        batches: The batches that take turns. With more than one, a short sentence need not wait for
            the end of a long one.
        batches_in_need: How many there may be for callers who have waited `need_seconds`, while
            others keep the engine busy for minutes.
        waiting: The requests of a kind (speech, voice prompts) that may wait; one more is refused.
        waiting_per_caller: How many of them may belong to one caller.
        gather_seconds: How long an idle engine waits for the first request to get company.
        patience_seconds: How long a caller who is not being served waits for the batch under way to
            end, before another begins beside it. Two batches cost nearly twice the time of one, so
            what comes in one wave should end up in one batch.
        need_seconds: How long a caller who is not being served waits at the most, unless there are
            `batches_in_need` already.
    """

    rows: int = 16
    batches: int = 2
    batches_in_need: int = 4
    waiting: int = 64
    waiting_per_caller: int = 16
    gather_seconds: float = 0.004
    patience_seconds: float = 0.1
    need_seconds: float = 3.0


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
        self._ends = deque([0.0], maxlen=_RECENT_ENDS + 1)  # the engine's busy time as each ended
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
            line = self._lines[type(ticket)]
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
            for ticket in (*self._speeches, *self._prompts, *self._begun):
                ticket.fail(BackendUnavailableError(_CLOSED))
            self._changed.notify()

    def wait_for_work(self, *, batches: int) -> bool:
        """Sleep until there is something to do; return False once closed.

        Args:
            batches: How many batches are under way.
        """
        with self._changed:
            while not (self._is_closed or batches or self._prompts):
                delay = self._seconds_until_due(batches=0)
                if delay is not None and delay <= 0:
                    break
                self._changed.wait(delay)
            return not self._is_closed

    def take_prompt(self) -> PromptTicket | None:
        """Take the voice prompt that is made next."""
        with self._changed:
            if self._is_closed or not self._prompts:
                return None
            ticket = self._prompts.pop()
            self._begin(ticket)
            return ticket

    def take_batch(self, *, batches: int) -> list[SpeechTicket]:
        """Take the sentences that should be begun now, of callers who are not being served.

        Args:
            batches: How many batches are under way.
        """
        with self._changed:
            delay = self._seconds_until_due(batches=batches)
            if self._is_closed or delay is None or delay > 0:
                return []
            served = self._served_callers()
            rows = min(len(self._eligible()), self._limits.rows)
            tickets = [self._speeches.pop(passing_over=served) for _ in range(rows)]
            for ticket in tickets:
                self._begin(ticket)
            return tickets

    def end(self, ticket: Ticket[Any], *, busy_seconds: float) -> None:
        """Note that the engine is done with a ticket.

        Args:
            ticket: Which one.
            busy_seconds: What the engine has worked in all, since it began.
        """
        with self._changed:
            if ticket in self._begun:
                self._begun.remove(ticket)
                self._ends.append(busy_seconds)

    def seconds_per_request(self) -> float | None:
        """Give the engine's time for one request, lately; None before anything ended."""
        ended = len(self._ends) - 1
        return (self._ends[-1] - self._ends[0]) / ended if ended else None

    def _begin(self, ticket: Ticket[Any]) -> None:
        ticket.has_begun = True
        self._begun.add(ticket)

    def _served_callers(self) -> set[str]:
        begun = (ticket for ticket in self._begun if isinstance(ticket, SpeechTicket))
        return {ticket.caller for ticket in begun if not ticket.is_over}

    def _eligible(self) -> list[SpeechTicket]:
        """List what may be begun: whoever has sentences in a batch waits until they are spoken."""
        served = self._served_callers()
        return [ticket for ticket in self._speeches if ticket.caller not in served]

    def _seconds_until_due(self, *, batches: int) -> float | None:
        """Say when the next batch should begin: 0 or less is now, None is not foreseen."""
        eligible = self._eligible()
        limits = self._limits
        if not eligible or batches >= max(limits.batches, limits.batches_in_need):
            return None
        if not batches and len(eligible) >= limits.rows:
            return 0.0
        if not batches:
            delay = limits.gather_seconds
        elif batches < limits.batches:
            delay = limits.patience_seconds
        else:
            delay = limits.need_seconds
        return min(ticket.arrived for ticket in eligible) + delay - time.monotonic()
