"""All calls of the deployed class: how many at once, for whom first, how long, and what if not."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

import structlog

from backend.contract import BackendUnavailableError, PcmChunk, SpeechError, StreamBegins
from bot.speech.errors import (
    BackendNotDeployedError,
    BackendUnreachableError,
    SpeechInterruptedError,
    SpeechTimeoutError,
    WakingTimeoutError,
)
from bot.speech.modal.breaker import Breaker
from bot.speech.modal.call import END, RemoteCall
from bot.speech.modal.cold_start import Wakefulness
from bot.speech.modal.errors import translate
from bot.speech.modal.fair_share import Turns
from bot.speech.modal.seam import Seam

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from bot.speech.backend import Waking
    from bot.speech.modal.client import Ask, ModalService

log = structlog.get_logger(__name__)

BEGIN_WITHIN_SECONDS = 30.0
WAKE_WITHIN_SECONDS = 300.0
ANSWER_WITHIN_SECONDS = 240.0
"""More than the container allows itself, so that its own reason comes first."""

LOOK_UP_AFTER_SECONDS = 60.0
"""A class that was looked up so lately is used as it was."""

SECONDS_TO_CANCEL_AT_CLOSE = 5.0

_AT_ONCE_SECONDS = 5.0
_PAUSE_BEFORE_REPEATING = 0.5


class Calls:
    """Makes calls so that each ends in an answer or a `SpeechError`, and leaves nothing running.

    A call is repeated once where that is safe and a failure may have been of the moment.

    Args:
        service: Where the calls go.
        places: How many may be under way at once.
    """

    def __init__(self, service: ModalService, *, places: int) -> None:
        self._service = service
        self._turns = Turns(places)
        self._breaker = Breaker()
        self._wakefulness = Wakefulness()
        self._under_way: set[RemoteCall] = set()
        self._endings: set[asyncio.Task[None]] = set()
        self._is_closing = False

    def waking(self) -> Waking | None:
        """Say how long a container has been starting, or None if none is."""
        return self._wakefulness.waking()

    async def check(self) -> None:
        """Return if a call could be made now, without making one."""
        await self._reach()

    async def stream(self, ask: Ask, *, caller: str) -> AsyncGenerator[PcmChunk, None]:
        """Call a generator that streams speech. Closing the iterator stops the remote work.

        Args:
            ask: What is asked for.
            caller: Whose turn it takes.
        """
        async with self._turns.turn_of(caller):
            is_repeated = has_spoken = False
            while True:
                began = asyncio.get_running_loop().time()
                try:
                    async with aclosing(self._stream_once(ask)) as chunks:
                        async for chunk in chunks:
                            has_spoken = True
                            yield chunk
                except SpeechError as error:
                    if has_spoken or is_repeated or not _may_pass(error, began):
                        raise
                else:
                    return
                is_repeated = True
                await asyncio.sleep(_PAUSE_BEFORE_REPEATING)

    async def result(self, ask: Ask, *, caller: str) -> Any:
        """Call a method and wait for its result. Takes the arguments of `stream`."""
        async with self._turns.turn_of(caller):
            is_repeated = False
            while True:
                began = asyncio.get_running_loop().time()
                call: RemoteCall | None = None
                try:
                    async with self._call(self._service.spawn, ask) as call:
                        return await self._only_answer(call)
                except SpeechError as error:
                    has_begun = call is not None and call.call_id is not None
                    if has_begun or is_repeated or not _may_pass(error, began):
                        raise
                is_repeated = True
                await asyncio.sleep(_PAUSE_BEFORE_REPEATING)

    def open(self) -> None:
        """Take calls, again if it was closed."""
        self._is_closing = False

    async def close(self) -> None:
        """Have everyone who waits give up, and every call stopped remotely if that goes quickly."""
        self._is_closing = True
        self._turns.close()
        endings = self._endings | {call.halt() for call in self._under_way}
        if endings:
            _, late = await asyncio.wait(endings, timeout=SECONDS_TO_CANCEL_AT_CLOSE)
            for ending in late:
                ending.cancel()
            await asyncio.gather(*late, return_exceptions=True)
            if late:
                log.warning("calls may still run remotely", calls=len(late))
        await self._service.close()

    async def _stream_once(self, ask: Ask) -> AsyncGenerator[PcmChunk, None]:
        async with self._call(self._service.stream, ask) as call:
            await self._first_sign_of_life(call)
            loop = asyncio.get_running_loop()
            patience = ANSWER_WITHIN_SECONDS
            seam = Seam()
            while True:
                asked_at = loop.time()
                part = await call.next(within=patience)
                patience -= loop.time() - asked_at  # the listener's time does not count
                self._wakefulness.heard()
                if part is END:
                    return
                if isinstance(part, StreamBegins):  # another container took the call over
                    seam.begin_anew()
                else:
                    yield seam.fit(part)

    async def _only_answer(self, call: RemoteCall) -> Any:
        await call.next(within=BEGIN_WITHIN_SECONDS)
        answer = await self._first_sign_of_life(call)
        await call.next(within=BEGIN_WITHIN_SECONDS)
        return answer

    async def _first_sign_of_life(self, call: RemoteCall) -> Any:
        with self._wakefulness.waiting():
            was_awake = self._wakefulness.is_awake()
            try:
                part = await call.next(within=WAKE_WITHIN_SECONDS)
            except SpeechTimeoutError as error:
                raise (error if was_awake else WakingTimeoutError(error.seconds)) from None
            self._wakefulness.heard()
            self._breaker.succeeded()
            return part

    @asynccontextmanager
    async def _call(
        self, begin: Callable[[Ask], AsyncGenerator[Any, None]], ask: Ask
    ) -> AsyncIterator[RemoteCall]:
        """Make a call; however the block is left, its work does not go on remotely."""
        began = asyncio.get_running_loop().time()
        call: RemoteCall | None = None
        try:
            await self._reach()
            call = RemoteCall(self._service, begin(ask))
            self._under_way.add(call)
            yield call
        except SpeechError as error:
            self._note(error)
            if not (_is_pause(error) or self._is_closing):
                log.warning(
                    "a call of the voice engine failed",
                    call=call.call_id if call else None,
                    method=ask.method,
                    failure=type(error).__name__,
                    reason=str(error),
                    seconds=round(asyncio.get_running_loop().time() - began, 1),
                )
            raise
        finally:
            if call is not None:
                self._under_way.discard(call)
                ending = call.leave()
                self._endings.add(ending)
                ending.add_done_callback(self._endings.discard)

    async def _reach(self) -> None:
        if self._is_closing:
            raise BackendUnavailableError("the bot is shutting down")
        self._breaker.check()
        try:
            await self._service.look_up(max_age=LOOK_UP_AFTER_SECONDS)
        except asyncio.CancelledError:
            self._breaker.gave_up_looking()
            raise
        except Exception as error:  # noqa: BLE001 - translated
            raise translate(error) from None
        self._breaker.reached()

    def _note(self, error: SpeechError) -> None:
        """Learn from a failure what the next call should know."""
        if isinstance(error, BackendUnreachableError):
            if not _is_pause(error):
                self._breaker.failed()
        else:
            self._breaker.succeeded()
        if isinstance(error, BackendNotDeployedError | BackendUnreachableError):
            self._service.forget()  # so that the next call finds out how things are
        if isinstance(error, BackendNotDeployedError | SpeechInterruptedError):
            self._wakefulness.lost()


def _is_pause(error: SpeechError) -> bool:
    """Whether a call was not even tried, because Modal did not answer those before."""
    return isinstance(error, BackendUnreachableError) and error.retry_after is not None


def _may_pass(error: SpeechError, began: float) -> bool:
    """Whether a call that failed may go well if it is made again."""
    if isinstance(error, BackendUnreachableError):
        at_once = asyncio.get_running_loop().time() - began < _AT_ONCE_SECONDS
        return at_once and not _is_pause(error)
    # The class may be there under another number since it was last looked up.
    return isinstance(error, SpeechInterruptedError | BackendNotDeployedError)
