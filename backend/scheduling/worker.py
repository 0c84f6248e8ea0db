"""The one thread that touches the engine: it moves all that is spoken on, frame by frame."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from typing import TYPE_CHECKING

from backend.contract import GenerationFailedError, SpeechError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from backend.contract import VoicePrompt
    from backend.engine.engine import Engine, SpeakingLoop
    from backend.engine.interface import SpeechChunk
    from backend.scheduling.queue import RequestQueue
    from backend.scheduling.request import PromptTicket, SpeechTicket

log = logging.getLogger(__name__)


class EngineWorker:
    """A thread that owns an engine and works off a queue until that is closed.

    Args:
        engine: Nothing else may use it from now on.
        queue: Where the work comes from.
        rows: How many sentences the engine speaks together, at the most.
    """

    def __init__(self, engine: Engine, queue: RequestQueue, *, rows: int) -> None:
        self._engine = engine
        self._queue = queue
        self._rows = rows
        self._loop: SpeakingLoop | None = None
        self._speaking: dict[int, SpeechTicket] = {}  # by their numbers in the loop
        self._frame_seconds_due = 0.0
        self._crashes_in_a_row = 0
        # A daemon: a step of the model that never ends must not keep the process alive.
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

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
            while self._queue.wait_for_work():
                self._make_prompt()
                self._let_join()
                self._speak_a_frame()
        finally:
            self._queue.close()  # whatever ends this thread, nobody waits for it in vain

    def _make_prompt(self) -> None:
        """Make a voice prompt, if one waits and those who speak can spare the time."""
        # A prompt of a long clip holds everybody up for several frames. After it, frames get as
        # much time as it took: so they have half of the time, however many prompts wait, and a
        # model that makes a frame in half of the 80 ms for which it is heard keeps up meanwhile.
        if self._speaking and self._frame_seconds_due > 0:
            return
        ticket = self._queue.take_prompt()
        if ticket is None:
            return
        began = time.monotonic()
        answer = self._answer(ticket)
        ticket.engine_seconds = self._frame_seconds_due = time.monotonic() - began
        self._queue.end(ticket)
        if isinstance(answer, SpeechError):
            ticket.fail(answer)
        else:
            ticket.deliver(answer)
            ticket.finish()

    def _answer(self, ticket: PromptTicket) -> VoicePrompt | SpeechError:
        try:
            prompt = self._engine.make_prompt(ticket.reference, ticket.transcript, ticket.consent)
        except Exception as error:  # noqa: BLE001 - whatever the model does, the worker lives on
            return self._explain(error)
        self._crashes_in_a_row = 0
        return prompt

    def _let_join(self) -> None:
        """Let the sentences whose turn it is be spoken from the next frame on."""
        tickets = self._queue.take_speeches()
        if not tickets:
            return
        try:
            if self._loop is None:
                self._loop = self._engine.open(self._rows)
        except Exception as error:  # noqa: BLE001 - whatever the model does, the worker lives on
            self._note_crash(error)
            self._lose(tickets)
            return
        for ticket in tickets:
            try:
                self._speaking[self._loop.join(ticket.job)] = ticket
            except Exception as error:  # noqa: BLE001 - whatever the model does, the worker lives on
                self._end(ticket, self._explain(error))

    def _speak_a_frame(self) -> None:
        """Move every sentence on by a frame, and drop those whose callers left."""
        if self._loop is None:
            return
        try:
            chunks = self._loop.step()
            while (chunk := self._next_chunk(chunks)) is not None:
                self._hand_out(chunk)
            self._drop_who_left(self._loop)
        except Exception as error:  # noqa: BLE001 - whatever the model does, the worker lives on
            self._note_crash(error)
            self._loop = None  # and its memory is free before another is opened
            lost, self._speaking = self._speaking, {}
            self._lose(lost.values())

    def _next_chunk(self, chunks: Iterator[SpeechChunk]) -> SpeechChunk | None:
        began = time.monotonic()
        try:
            return next(chunks, None)
        finally:
            seconds = time.monotonic() - began
            self._frame_seconds_due -= seconds
            for ticket in self._speaking.values():
                ticket.engine_seconds += seconds / len(self._speaking)

    def _hand_out(self, chunk: SpeechChunk) -> None:
        self._crashes_in_a_row = 0
        ticket = self._speaking[chunk.row]
        ticket.deliver_chunk(chunk, self._engine.sample_rate)
        if chunk.is_last:
            del self._speaking[chunk.row]
            self._end(ticket, chunk.error)

    def _drop_who_left(self, loop: SpeakingLoop) -> None:
        left = [number for number, ticket in self._speaking.items() if ticket.is_over]
        for number in left:
            loop.leave(number)
            self._queue.end(self._speaking.pop(number))

    def _lose(self, tickets: Iterable[SpeechTicket]) -> None:
        for ticket in tickets:
            self._end(ticket, _crashed())

    def _end(self, ticket: SpeechTicket, error: SpeechError | None) -> None:
        # Before its caller hears of it, who may ask for the next estimate at once.
        self._queue.end(ticket)
        if error is None:
            ticket.finish()
        else:
            ticket.fail(error)

    def _explain(self, error: Exception) -> SpeechError:
        """Turn what a request ended with into what its caller is told."""
        if isinstance(error, SpeechError):
            return error
        self._note_crash(error)
        return _crashed()

    def _note_crash(self, error: Exception) -> None:
        """Log where the model failed, but not its message, which may quote what was to be said."""
        self._crashes_in_a_row += 1
        where = "".join(traceback.format_tb(error.__traceback__))
        log.error("the model failed with %s at\n%s", type(error).__name__, where)


def _crashed() -> GenerationFailedError:
    return GenerationFailedError("the model failed")
