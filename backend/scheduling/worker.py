"""The one thread that uses the engine. It generates all running sentences, frame by frame."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING

from backend.contract import (
    BackendBusyError,
    BackendUnavailableError,
    GenerationFailedError,
    SpeechError,
)
from backend.engine.failures import is_context_lost, is_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from backend.contract import VoicePrompt
    from backend.engine.interface import SpeechChunk, SpeechEngine, SpeechLoop
    from backend.scheduling.queue import RequestQueue
    from backend.scheduling.request import ScheduledSpeech

log = logging.getLogger(__name__)

LOST_GPU = "the GPU failed, and another process takes over"


class EngineWorker:
    """A thread that owns an engine and serves a queue until the queue is closed.

    Args:
        engine: Nothing else may use it from now on.
        queue: Where the requests come from.
        rows: The most sentences in a batch.

    Attributes:
        crashes_in_a_row: How many calls of the model have crashed since the last success.
        has_lost_gpu: Whether this process can use its GPU no more. The queue is closed then.
    """

    def __init__(self, engine: SpeechEngine, queue: RequestQueue, *, rows: int) -> None:
        self._engine = engine
        self._queue = queue
        self._rows = rows
        self._loop: SpeechLoop | None = None
        self._running: dict[int, ScheduledSpeech] = {}  # by the number that the loop gave them
        self._unread: list[ScheduledSpeech] = []  # which have a row, but are still being read
        self._frame_seconds_due = 0.0
        self.crashes_in_a_row = 0
        self.has_lost_gpu = False
        self._steps = 0
        self._step_began: float | None = None
        # A daemon: a step of the model that never ends must not keep the process alive.
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    @property
    def step_under_way(self) -> int | None:
        """The number of the step that the thread is at, or None if it has nothing to do.

        A step is what the thread does before it looks at its requests again, or between two chunks.
        """
        return None if self._step_began is None else self._steps

    @property
    def step_seconds(self) -> float:
        """How long that step has taken by now."""
        began = self._step_began
        return 0.0 if began is None else time.monotonic() - began

    def join(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds for the thread to end; return whether it has."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while self._queue.wait_for_work():
                for work in (self._make_prompt, self._add_waiting, self._step):
                    if not self.has_lost_gpu:
                        self._begin_step()
                        work()
                self._step_began = None
        finally:
            self._step_began = None
            self._queue.close()  # however this thread ends, no request is left waiting

    def _begin_step(self) -> None:
        self._steps += 1
        self._step_began = time.monotonic()

    def _make_prompt(self) -> None:
        """Make a voice prompt, if one waits and the running sentences can spare the time."""
        # A prompt of a long clip delays the running sentences by several frames. So before the next
        # prompt, frames get as much time as this one took, and half of the time however many
        # prompts wait. A model that generates an 80 ms frame in 40 ms then keeps up with playback.
        if self._running and self._frame_seconds_due > 0:
            return
        request = self._queue.take_prompt()
        if request is None:
            return
        began = time.monotonic()
        made: VoicePrompt | SpeechError
        try:
            made = self._engine.make_prompt(request.samples, request.transcript, request.consent)
            self.crashes_in_a_row = 0
        except Exception as error:  # noqa: BLE001 - the worker must survive any error of the model
            made = self._explain(error)
        request.engine_seconds = self._frame_seconds_due = time.monotonic() - began
        self._queue.end(request)
        if isinstance(made, SpeechError):
            request.fail(made)
        else:
            request.deliver(made)
            request.finish()

    def _add_waiting(self) -> None:
        """Add the sentences that get a row now to the batch, once they are read.

        Those that are not read yet are added before a later frame, unless nobody speaks meanwhile.
        """
        requests = self._unread + self._queue.take_speech()
        self._unread = []
        if not requests:
            return
        try:
            if self._loop is None:
                self._loop = self._engine.open(self._rows)
        except Exception as error:  # noqa: BLE001 - the worker must survive any error of the model
            self._fail_all(requests, error)
            return
        for request in requests:
            if request.is_over:
                self._queue.end(request)
                continue
            if self._running and not request.reading.done():
                self._unread.append(request)
                continue
            try:
                self._running[self._loop.add(request.reading.result())] = request
            except CancelledError:  # it was over before it was read
                self._queue.end(request)
            except Exception as error:  # noqa: BLE001 - the worker must survive any error
                self._end(request, self._explain(error))

    def _step(self) -> None:
        """Generate one frame of every sentence, and remove cancelled sentences from the batch."""
        if self._loop is None:
            return
        try:
            chunks = self._loop.step()
            while (chunk := self._next_chunk(chunks)) is not None:
                self._deliver(chunk)
            self._remove_cancelled(self._loop)
        except Exception as error:  # noqa: BLE001 - the worker must survive any error of the model
            self._loop = None
            lost, self._running = self._running, {}
            self._fail_all(lost.values(), error)

    def _next_chunk(self, chunks: Iterator[SpeechChunk]) -> SpeechChunk | None:
        self._begin_step()
        began = time.monotonic()
        try:
            return next(chunks, None)
        finally:
            seconds = time.monotonic() - began
            self._frame_seconds_due -= seconds
            for request in self._running.values():
                request.engine_seconds += seconds / len(self._running)

    def _deliver(self, chunk: SpeechChunk) -> None:
        self.crashes_in_a_row = 0
        request = self._running[chunk.row]
        request.deliver_chunk(chunk, self._engine.sample_rate)
        if chunk.is_last:
            del self._running[chunk.row]
            self._end(request, chunk.error)

    def _remove_cancelled(self, loop: SpeechLoop) -> None:
        cancelled = [number for number, request in self._running.items() if request.is_over]
        for number in cancelled:
            loop.remove(number)
            self._queue.end(self._running.pop(number))

    def _fail_all(self, requests: Iterable[ScheduledSpeech], error: Exception) -> None:
        self._note_crash(error)
        for request in requests:
            self._end(request, self._meaning(error))

    def _end(self, request: ScheduledSpeech, error: SpeechError | None) -> None:
        # The queue is updated first, because the caller may read its load once the request ends.
        self._queue.end(request)
        if error is None:
            request.finish()
        else:
            request.fail(error)

    def _explain(self, error: Exception) -> SpeechError:
        """Turn an exception of the engine into the error for the request's caller."""
        if isinstance(error, SpeechError):
            return error
        self._note_crash(error)
        return self._meaning(error)

    def _meaning(self, error: Exception) -> SpeechError:
        """Return what a crash is to the caller of a request. Each needs an error of its own."""
        if is_context_lost(error):
            return BackendUnavailableError(LOST_GPU)
        if is_out_of_memory(error):
            return BackendBusyError(self._queue.load().seconds_left)
        return GenerationFailedError("the model failed")

    def _note_crash(self, error: Exception) -> None:
        """Log the traceback of a crash, but not its message, which may quote the text."""
        self.crashes_in_a_row += 1
        where = "".join(traceback.format_tb(error.__traceback__))
        log.error("the model failed with %s at\n%s", type(error).__name__, where)
        if is_context_lost(error):  # which neither another step nor another loop would change
            self.has_lost_gpu = True
            self._queue.close(LOST_GPU)
