"""One call of the deployed class, from its beginning until it is certain that it has ended."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import structlog

from backend.contract import BackendUnavailableError, SpeechError, StreamBegins
from bot.speech.errors import (
    BackendQuotaError,
    BackendUnreachableError,
    SpeechTimeoutError,
)
from bot.speech.modal.client import detached
from bot.speech.modal.errors import ends_call, translate

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from bot.speech.modal.client import ModalService

log = structlog.get_logger(__name__)

LOOK_EVERY_SECONDS = 5.0
"""Who waits for an answer looks so often whether Modal and the app are still there."""

FIND_OUT_WITHIN_SECONDS = 600.0
"""A call that nobody wants any more may have to wait for a container before it names itself."""

CANCEL_WITHIN_SECONDS = 60.0

_MAY_PASS = (BackendUnreachableError, BackendQuotaError)

END: Any = object()
"""What `RemoteCall.next` returns once the answer is complete."""


class RemoteCall:
    """A call under way.

    Its answers are fetched by a task of its own, because cancelling a fetch would lose the call
    without stopping it.

    Args:
        service: Where it runs.
        answers: First a `StreamBegins`, then what the call answers.

    Attributes:
        call_id: Modal's name for it, once that is known.
    """

    def __init__(self, service: ModalService, answers: AsyncGenerator[Any, None]) -> None:
        self._service = service
        self._answers = answers
        self._fetch: asyncio.Task[Any] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._halted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._is_over = False
        self.call_id: str | None = None

    async def next(self, *, within: float) -> Any:
        """Wait for the next part of the answer; `END` after the last.

        Args:
            within: Seconds after which it raises `SpeechTimeoutError`.

        Every failure is a `SpeechError`.
        """
        self._check_not_halted()
        fetch = self._fetching()
        watch = asyncio.create_task(self._watch())
        try:
            await asyncio.wait(
                {fetch, self._halted, watch},
                timeout=within,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            watch.cancel()
            looked = await asyncio.gather(watch, return_exceptions=True)
        self._check_not_halted()
        if fetch.done():  # whatever else is wrong, the answer is here
            return self._take(fetch)
        if isinstance(looked[0], SpeechError):
            raise looked[0]
        raise SpeechTimeoutError(within)

    def halt(self) -> asyncio.Task[None]:
        """Have whoever waits for it give up, and leave it."""
        if not self._halted.done():
            self._halted.set_result(None)
        return self.leave()

    def leave(self) -> asyncio.Task[None]:
        """Make sure, in the background, that its work stops if it has not ended by itself."""
        if self._ending is None:
            self._ending = detached(self._end())
        return self._ending

    async def _end(self) -> None:
        try:
            if not self._is_over:
                await self._cancel()
        finally:
            if self._fetch is not None:
                self._fetch.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await self._fetch
            with suppress(Exception):
                await self._answers.aclose()

    def _check_not_halted(self) -> None:
        if self._halted.done():
            raise BackendUnavailableError("the bot is shutting down")

    async def _cancel(self) -> None:
        try:
            async with asyncio.timeout(FIND_OUT_WITHIN_SECONDS):
                while self.call_id is None and not self._is_over:
                    fetch = self._fetching()
                    await asyncio.wait({fetch})
                    self._take(fetch)
            if self.call_id is not None and not self._is_over:
                async with asyncio.timeout(CANCEL_WITHIN_SECONDS):
                    await self._service.cancel(self.call_id)
        except Exception as error:  # noqa: BLE001 - nobody waits for this any more
            if not self._is_over:
                log.warning(
                    "a call that nobody wants may still run",
                    call=self.call_id,
                    failure=type(error).__name__,
                )

    def _fetching(self) -> asyncio.Task[Any]:
        if self._fetch is None:
            self._fetch = detached(self._fetch_next())
        return self._fetch

    async def _fetch_next(self) -> Any:
        return await anext(self._answers, END)

    def _take(self, fetch: asyncio.Task[Any]) -> Any:
        self._fetch = None
        try:
            answer = fetch.result()
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - translated
            self._is_over = ends_call(error)
            raise translate(error) from None
        if answer is END:
            self._is_over = True
        if isinstance(answer, StreamBegins):
            self.call_id = answer.call_id
        return answer

    async def _watch(self) -> None:
        """Look now and then whether Modal answers and the class is there.

        Raises what is wrong; what may pass is forgiven once.
        """
        forgiven = False
        while True:
            await asyncio.sleep(LOOK_EVERY_SECONDS)
            try:
                await self._service.look_up(max_age=LOOK_EVERY_SECONDS)
            except Exception as error:  # noqa: BLE001 - translated
                failure = translate(error)
                if forgiven or not isinstance(failure, _MAY_PASS):
                    raise failure from None
                forgiven = True
            else:
                forgiven = False
