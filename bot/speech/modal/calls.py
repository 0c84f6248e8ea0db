"""All calls of the deployed class, with slots, time limits, retries and cancellation."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

import structlog

from backend.contract import BackendUnavailableError, SpeechError
from bot.speech.errors import (
    BackendNotDeployedError,
    BackendUnreachableError,
    SpeechInterruptedError,
    SpeechTimeoutError,
    WakingTimeoutError,
)
from bot.speech.modal.call import END, RemoteCall, RunMerger
from bot.speech.modal.client import StreamBegins
from bot.speech.modal.cold_start import ColdStarts
from bot.speech.modal.errors import translate
from bot.speech.remote.breaker import CircuitBreaker
from bot.speech.remote.fair_share import FairShare

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from backend.contract import PcmChunk
    from bot.speech.backend import ColdStart
    from bot.speech.modal.client import MethodCall, ModalService

log = structlog.get_logger(__name__)

BEGIN_WITHIN_SECONDS = 30.0
START_WITHIN_SECONDS = 300.0
ANSWER_WITHIN_SECONDS = 240.0
"""Longer than the container's own limit, so that the container's error arrives first."""

LOOK_UP_AFTER_SECONDS = 60.0
"""A class that was looked up more recently is used without another look-up."""

SECONDS_TO_CANCEL_AT_CLOSE = 2.0

_AT_ONCE_SECONDS = 5.0
_PAUSE_BEFORE_REPEATING = 0.5


class Calls:
    """Makes calls. Each ends with an answer or a `SpeechError`, and leaves no remote work running.

    A call that fails before its first answer is repeated once, if the failure may be temporary.

    Args:
        service: The deployed class.
        slots: The most calls at once.
    """

    def __init__(self, service: ModalService, *, slots: int) -> None:
        self._service = service
        self._slots = FairShare(slots)
        self._breaker = CircuitBreaker()
        self._cold_starts = ColdStarts()
        self._under_way: set[RemoteCall] = set()
        self._endings: set[asyncio.Task[None]] = set()
        self._is_closing = False

    def cold_start(self) -> ColdStart | None:
        """Return how long a container has been starting, or None if none is."""
        return self._cold_starts.cold_start()

    async def check(self) -> None:
        """Return if a call could be made now. Raises the `SpeechError` that it would get."""
        if self._is_closing:
            raise BackendUnavailableError("the bot is shutting down")
        self._breaker.check()
        try:
            await self._service.look_up(max_age=LOOK_UP_AFTER_SECONDS)
        except asyncio.CancelledError:
            self._breaker.probe_cancelled()
            raise
        except Exception as error:  # noqa: BLE001 - translated
            raise translate(error) from None
        self._breaker.reached()

    def stream(self, method: MethodCall, *, caller: str) -> AsyncGenerator[PcmChunk, None]:
        """Call a generator that streams speech. Closing the iterator cancels the remote work.

        Args:
            method: The method, with its arguments.
            caller: The caller that the call's slot counts for.
        """
        return self._repeat(self._stream_once, method, caller)

    async def result(self, method: MethodCall, *, caller: str) -> Any:
        """Call a method and wait for its result. The arguments are those of `stream`."""
        answer: Any = None
        async with aclosing(self._repeat(self._result_once, method, caller)) as answers:
            async for answer in answers:  # noqa: B007 - the last one is the result
                pass
        return answer

    async def close(self) -> None:
        """Fail all calls, and cancel their remote work. Waits a few seconds at most for that."""
        self._is_closing = True
        self._slots.close()
        endings = self._endings | {call.close() for call in self._under_way}
        if endings:
            _, late = await asyncio.wait(endings, timeout=SECONDS_TO_CANCEL_AT_CLOSE)
            for ending in late:
                ending.cancel()
            await asyncio.gather(*late, return_exceptions=True)
            if late:
                log.warning("calls may still run remotely", calls=len(late))
        await self._service.close()

    async def _repeat(
        self,
        attempt: Callable[[MethodCall], AsyncGenerator[Any, None]],
        method: MethodCall,
        caller: str,
    ) -> AsyncGenerator[Any, None]:
        """Acquire a slot and attempt a call.

        There is a second and last attempt if the first one fails before any answer, and the failure
        may be temporary.
        """
        async with self._slots.slot(caller):
            is_repeated = has_answered = False
            while True:
                began = asyncio.get_running_loop().time()
                try:
                    async with aclosing(attempt(method)) as answers:
                        async for answer in answers:
                            has_answered = True
                            yield answer
                except SpeechError as error:
                    if has_answered or is_repeated or not _may_pass(error, began):
                        raise
                else:
                    return
                is_repeated = True
                await asyncio.sleep(_PAUSE_BEFORE_REPEATING)

    async def _stream_once(self, method: MethodCall) -> AsyncGenerator[PcmChunk, None]:
        async with self._call(self._service.stream, method) as call:
            await self._first_answer(call)
            loop = asyncio.get_running_loop()
            seconds_left = ANSWER_WITHIN_SECONDS
            runs = RunMerger()
            while True:
                asked_at = loop.time()
                part = await call.next(within=seconds_left)
                seconds_left -= loop.time() - asked_at  # the reader's own time does not count
                self._cold_starts.answered()
                if part is END:
                    return
                if isinstance(part, StreamBegins):  # another container runs the call again
                    runs.begin_run()
                else:
                    yield runs.merge(part)

    async def _result_once(self, method: MethodCall) -> AsyncGenerator[Any, None]:
        """Yield a `StreamBegins` once Modal has accepted the call, and then its result.

        The `StreamBegins` counts as an answer. So a call that Modal has accepted is not repeated,
        because it may have had its effect.
        """
        async with self._call(self._service.spawn, method) as call:
            yield await call.next(within=BEGIN_WITHIN_SECONDS)
            yield await self._first_answer(call)
            await call.next(within=BEGIN_WITHIN_SECONDS)

    async def _first_answer(self, call: RemoteCall) -> Any:
        """Wait for the first answer of a container, which may have to start first."""
        with self._cold_starts.waiting():
            was_warm = self._cold_starts.is_warm()
            try:
                part = await call.next(within=START_WITHIN_SECONDS)
            except SpeechTimeoutError as error:
                raise (error if was_warm else WakingTimeoutError(error.seconds)) from None
            self._cold_starts.answered()
            self._breaker.succeeded()
            return part

    @asynccontextmanager
    async def _call(
        self, begin: Callable[[MethodCall], AsyncGenerator[Any, None]], method: MethodCall
    ) -> AsyncIterator[RemoteCall]:
        """Make a call. Its remote work is cancelled after the block, unless it has ended."""
        began = asyncio.get_running_loop().time()
        call: RemoteCall | None = None
        try:
            await self.check()
            call = RemoteCall(self._service, begin(method))
            self._under_way.add(call)
            yield call
        except SpeechError as error:
            self._learn_from(error)
            if not (_is_breaker_open(error) or self._is_closing):
                log.warning(
                    "a call of the voice engine failed",
                    call=call.call_id if call else None,
                    method=method.name,
                    failure=type(error).__name__,
                    reason=str(error),
                    seconds=round(asyncio.get_running_loop().time() - began, 1),
                )
            raise
        finally:
            if call is not None:
                self._under_way.discard(call)
                ending = call.cancel()
                self._endings.add(ending)
                ending.add_done_callback(self._endings.discard)

    def _learn_from(self, error: SpeechError) -> None:
        """After a failure, update the breaker, the looked-up class and the cold-start state."""
        if isinstance(error, BackendUnreachableError):
            if not _is_breaker_open(error):
                self._breaker.failed()
        else:
            self._breaker.succeeded()
        if isinstance(error, BackendNotDeployedError | BackendUnreachableError):
            self._service.forget()
        if isinstance(error, BackendNotDeployedError | SpeechInterruptedError):
            self._cold_starts.lost()


def _is_breaker_open(error: SpeechError) -> bool:
    """Whether the circuit breaker refused the call."""
    return isinstance(error, BackendUnreachableError) and error.retry_after is not None


def _may_pass(error: SpeechError, began: float) -> bool:
    """Whether a call that failed may succeed if it is repeated."""
    if isinstance(error, BackendUnreachableError):
        at_once = asyncio.get_running_loop().time() - began < _AT_ONCE_SECONDS
        return at_once and not _is_breaker_open(error)
    # A class that was looked up earlier may have been deployed again since.
    return isinstance(error, SpeechInterruptedError | BackendNotDeployedError)
