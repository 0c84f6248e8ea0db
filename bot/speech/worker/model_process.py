"""The child process of a model, as the bot sees it: started, called, watched and ended."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

import structlog

from backend.contract import BackendUnavailableError, SpeechError
from bot.speech.errors import (
    BackendNotAnsweringError,
    BackendStartingError,
    SpeechInterruptedError,
    SpeechStuckError,
)
from bot.speech.worker.channel import Answer, Call, Cancel, Channel, Loaded, Ping, Pong
from bot.speech.worker.process import TRACEBACKS, serve
from bot.speech.worker.watch import Watch

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from bot.speech.worker.channel import Method
    from bot.speech.worker.process import LoadModel
    from bot.speech.worker.watch import Limits

log = structlog.get_logger(__name__)

_ENDED_LOADING = (
    "The voice engine's process ended while it was loading the model, as it does where memory runs "
    "out. Choose a smaller model with MODEL_ID, or free some memory, then start again."
)
_STUCK_LOADING = "The voice engine got stuck while it was loading the model; the log says where."

_SECONDS_FOR_TRACEBACKS = 0.3
_SECONDS_BETWEEN_REMARKS = 60.0


@dataclass(slots=True, eq=False)
class _OpenCall:
    """A call that has not been answered completely.

    Attributes:
        method: What is called.
        parts: The parts of the answer that nobody has read; None and errors end the answer.
        is_waiting: Whether its caller waits for the next part.
        waited: How long it has waited in all, in seconds.
    """

    method: Method
    parts: asyncio.Queue[Any] = field(default_factory=asyncio.Queue)
    is_waiting: bool = False
    waited: float = 0.0


class ModelProcess:
    """A child process that loads a model and answers calls. It is killed once it hangs.

    Must be created in a running event loop.

    Args:
        load: Loads the model, in the child process.
        limits: How long what may take.
        load_seconds: How long loading may take.
        on_end: Called in the event loop, once, when the process has ended or was killed because it
            hangs, but not by `kill`.
    """

    def __init__(
        self,
        load: LoadModel,
        limits: Limits,
        *,
        load_seconds: float,
        on_end: Callable[[ModelProcess], None],
    ) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would inherit locks and threads
        ours, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, load), daemon=True)
        self._process.start()
        theirs.close()  # so that the pipe closes when the child ends
        self._limits = limits
        self._seconds = {
            "health": limits.health,
            "prepare_voice": limits.prompt,
            "speak": limits.sentence,
            "find_watermark": limits.search,
        }
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._watch = Watch(limits, load_seconds=load_seconds)
        self._remarked_at = 0.0
        self._is_asked = False
        self._was_gone = False
        self._numbers = count()
        self._loading: asyncio.Future[Loaded | SpeechError] = self._loop.create_future()
        self._calls: dict[int, _OpenCall] = {}
        self._channel = Channel(ours, on_message=self._receive, on_end=self._notice_end)
        self._has_ended = threading.Event()
        self._is_stuck = False
        self._ticker = threading.Thread(
            target=self._tick_until_end, name="voice engine", daemon=True
        )
        self._ticker.start()

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended, so that another one is needed."""
        return self._has_ended.is_set()

    @property
    def is_loading(self) -> bool:
        """Whether the model is being loaded."""
        return not self._loading.done()

    @property
    def has_loaded(self) -> bool:
        """Whether the model was loaded."""
        return self._loading.done() and isinstance(self._loading.result(), Loaded)

    @property
    def loading_seconds(self) -> float:
        """How long the model has been loading, or took to load."""
        return self._watch.loading_seconds

    @property
    def seconds_without_download(self) -> float:
        """How long the model took to load, as it says itself; with a download if it doesn't."""
        loading = self._loading.result() if self._loading.done() else None
        told = loading.details.get("load_seconds") if isinstance(loading, Loaded) else None
        return told if isinstance(told, float) else self.loading_seconds

    async def loaded(self) -> Loaded:
        """Wait until the model is loaded; raise the `SpeechError` if that fails."""
        loading = await asyncio.shield(self._loading)
        if isinstance(loading, SpeechError):
            raise _own(loading)
        return loading

    async def health(self) -> None:
        """Return if a call would be answered now; otherwise raise the error."""
        if self.is_loading:
            raise BackendStartingError("the model is being loaded")
        if not self._watch.is_in_doubt:
            is_busy = any(call.method != "health" for call in self._calls.values())
            try:
                async for _ in self.call("health"):
                    pass
            except BackendNotAnsweringError:
                # A model that works may hold the interpreter's lock for a while.
                if not is_busy:
                    raise
        if self._watch.is_in_doubt:
            raise BackendNotAnsweringError("the process makes no progress")

    async def call(self, method: Method, *arguments: object) -> AsyncGenerator[Any, None]:
        """Call a method of the model, and yield its answer part by part.

        Closing the iterator cancels the call. Raises what the method raises, and
        `SpeechInterruptedError` if the process ends or hangs before the answer is complete.
        """
        await self.loaded()
        if self.has_ended:
            raise SpeechInterruptedError("the voice engine's process ended")
        number = next(self._numbers)
        call = self._calls[number] = _OpenCall(method)
        self._channel.send(Call(number, method, arguments))
        try:
            while True:
                call.is_waiting = True
                part = await call.parts.get()
                call.is_waiting = False
                if part is None:
                    return
                if isinstance(part, SpeechError):
                    raise part
                yield part
        finally:
            del self._calls[number]
            self._channel.send(Cancel(number))

    async def kill(self) -> None:
        """End the process at once. Running calls fail with `BackendUnavailableError`.

        Waits until the process is gone, but not for long: one that the system keeps from ending is
        left to the system.
        """
        error = BackendUnavailableError("the voice engine is shutting down")
        self._end(calls_fail_with=error, loading_fails_with=error)
        await asyncio.to_thread(self._ticker.join, self._limits.end)

    def _receive(self, message: Loaded | SpeechError | Answer | Pong) -> None:
        if isinstance(message, Answer):
            if message.number in self._calls:
                self._calls[message.number].parts.put_nowait(message.part)
        elif isinstance(message, Pong):
            self._is_asked = False
            self._watch.answered(message.step)
        elif self.is_loading:
            self._watch.loaded()
            self._loading.set_result(message)

    def _notice_end(self) -> None:
        with suppress(RuntimeError):  # the event loop is closed, so no call is waiting
            self._loop.call_soon_threadsafe(self._note_end)

    def _note_end(self) -> None:
        if not self.has_ended:
            self._end(
                SpeechInterruptedError("the voice engine's process ended"),
                BackendUnavailableError(_ENDED_LOADING),
            )
            self._on_end(self)

    def _tick_until_end(self) -> None:
        """Have the process judged regularly, until it ends. Then clear it away.

        This thread waits by itself, because timers of the event loop may stand still, as in the
        demo.
        """
        with suppress(RuntimeError):  # the event loop is closed: nobody calls any more
            while not self._has_ended.wait(self._limits.beat):
                self._loop.call_soon_threadsafe(self._tick)
        if self._is_stuck and TRACEBACKS is not None:
            with suppress(OSError):
                os.kill(self._process.pid or 0, TRACEBACKS)
                time.sleep(_SECONDS_FOR_TRACEBACKS)
        self._process.kill()
        self._process.join(self._limits.end)
        self._channel.close(within=self._limits.end)

    def _tick(self) -> None:
        """Judge the process, and ask how far it is."""
        if self.has_ended:
            return
        is_gone = not self._process.is_alive()
        if is_gone and self._was_gone:  # its last messages were read in between
            self._note_end()
            return
        self._was_gone = is_gone
        seconds = self._watch.tick()
        reason = self._watch.verdict() or self._overdue(seconds)
        if reason is not None:
            self._give_up(reason)
            return
        if not self._is_asked:
            self._is_asked = True
            self._channel.send(Ping())
        self._remark_loading()

    def _overdue(self, seconds: float) -> str | None:
        """Count how long calls wait. Say which waits too long, if any does."""
        for call in self._calls.values():
            if not call.is_waiting or not call.parts.empty():
                continue
            call.waited += seconds
            limit = self._seconds[call.method]
            if call.waited <= limit:
                continue
            if call.method != "health":
                return f"{call.method} was not done within {limit:.0f} s"
            call.parts.put_nowait(BackendNotAnsweringError("the process gave no answer"))
        return None

    def _remark_loading(self) -> None:
        if self.is_loading and self.loading_seconds - self._remarked_at >= _SECONDS_BETWEEN_REMARKS:
            self._remarked_at = self.loading_seconds
            log.info("the voice engine is still loading", seconds=round(self.loading_seconds))

    def _give_up(self, reason: str) -> None:
        log.error("the voice engine hangs, so its process is killed", reason=reason)
        self._is_stuck = True
        self._end(SpeechStuckError(reason), BackendUnavailableError(_STUCK_LOADING))
        self._on_end(self)

    def _end(self, calls_fail_with: SpeechError, loading_fails_with: SpeechError) -> None:
        if self.has_ended:
            return
        self._has_ended.set()  # the ticking thread kills the process
        if self.is_loading:
            self._loading.set_result(loading_fails_with)
        for call in self._calls.values():
            call.parts.put_nowait(_own(calls_fail_with))


def _own(error: SpeechError) -> SpeechError:
    """Return another error of the same kind. Each caller raises its own, with its traceback."""
    return type(error)(*error.args)
