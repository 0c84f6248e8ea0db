"""The one thread that touches the engine: it begins batches, and moves them along in turn."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backend.contract import GenerationFailedError, SpeechError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backend.engine import Engine, SpeechChunk
    from backend.scheduler_queue import RequestQueue
    from backend.scheduler_ticket import SpeechTicket

log = logging.getLogger(__name__)

_CRASHED = "the model failed"


@dataclass(eq=False, slots=True)
class _Batch:
    """Sentences that the engine speaks together.

    Attributes:
        tickets: One for each row.
        chunks: The engine's stream.
        seconds: Its part of the engine's time. The batch with the least goes on next, so a new one
            begins with as much as the least of the others has.
    """

    tickets: list[SpeechTicket]
    chunks: Iterator[SpeechChunk]
    seconds: float


class EngineWorker:
    """A thread that owns an engine and works off a queue until that is closed.

    Args:
        engine: Nothing else may use it from now on. Its streams are read in turn.
        queue: Where the work comes from.
    """

    def __init__(self, engine: Engine, queue: RequestQueue) -> None:
        self._engine = engine
        self._queue = queue
        self._batches: list[_Batch] = []
        self._busy_seconds = 0.0
        self._crashes_in_a_row = 0
        # A daemon: a step of the model that never ends must not keep the process alive.
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    @property
    def batches(self) -> int:
        """How many batches are under way."""
        return len(self._batches)

    @property
    def crashes_in_a_row(self) -> int:
        """How many calls of the model have crashed since one last went well."""
        return self._crashes_in_a_row

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def join(self, timeout: float) -> bool:
        """Wait at most so many seconds for the end of the thread; return whether it ended."""
        if self._thread.ident is not None:  # otherwise it never began
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while self._queue.wait_for_work(batches=len(self._batches)):
                self._make_prompt()
                self._begin_batch()
                self._advance_batch()
        finally:
            self._queue.close()  # whatever ends this thread, nobody waits for it in vain

    def _make_prompt(self) -> None:
        ticket = self._queue.take_prompt()
        if ticket is None:
            return
        began = time.monotonic()
        try:
            prompt = self._engine.make_prompt(ticket.reference, ticket.transcript, ticket.consent)
            self._crashes_in_a_row = 0
            ticket.deliver(prompt)
            ticket.finish()
        except SpeechError as error:
            ticket.fail(error)
        except Exception as error:  # noqa: BLE001 - whatever the model does, the worker lives on
            self._note_crash(error)
            ticket.fail(GenerationFailedError(_CRASHED))
        self._busy_seconds += time.monotonic() - began
        self._queue.end(ticket, busy_seconds=self._busy_seconds)

    def _begin_batch(self) -> None:
        tickets = self._queue.take_batch(batches=len(self._batches))
        if tickets:
            seconds = min((batch.seconds for batch in self._batches), default=0.0)
            self._batches.append(_Batch(tickets, self._stream(tickets), seconds))

    def _stream(self, tickets: list[SpeechTicket]) -> Iterator[SpeechChunk]:
        jobs = [ticket.job for ticket in tickets]
        yield from self._engine.stream(jobs, is_cancelled=lambda row: tickets[row].is_over)

    def _advance_batch(self) -> None:
        if not self._batches:
            return
        batch = min(self._batches, key=lambda batch: batch.seconds)
        try:
            chunk = self._next_chunk(batch)
            if chunk is not None:
                self._hand_out(batch, chunk)
        except Exception as error:  # noqa: BLE001 - whatever the model does, the worker lives on
            self._note_crash(error)
            self._end_batch(batch, _CRASHED)
            return
        if chunk is None:
            self._end_batch(batch, "the model stopped before the end")

    def _next_chunk(self, batch: _Batch) -> SpeechChunk | None:
        began = time.monotonic()
        try:
            return next(batch.chunks, None)
        finally:
            seconds = time.monotonic() - began
            batch.seconds += seconds
            self._busy_seconds += seconds

    def _hand_out(self, batch: _Batch, chunk: SpeechChunk) -> None:
        self._crashes_in_a_row = 0
        ticket = batch.tickets[chunk.row]
        ticket.deliver_chunk(chunk, self._engine.sample_rate)
        if chunk.is_last or ticket.is_over:
            # Before its caller hears of it, who may ask for the next estimate at once.
            self._queue.end(ticket, busy_seconds=self._busy_seconds)
        if chunk.error is not None:
            ticket.fail(chunk.error)
        elif chunk.is_last:
            ticket.finish()

    def _end_batch(self, batch: _Batch, problem: str) -> None:
        """Forget a batch; rows that are not over fail."""
        for ticket in batch.tickets:
            ticket.fail(GenerationFailedError(problem))
            self._queue.end(ticket, busy_seconds=self._busy_seconds)
        self._batches.remove(batch)

    def _note_crash(self, error: Exception) -> None:
        """Log where the model failed, but not its message, which may quote what was to be said."""
        self._crashes_in_a_row += 1
        where = "".join(traceback.format_tb(error.__traceback__))
        log.error("the model failed with %s at\n%s", type(error).__name__, where)
