"""Limits how many calls run at once, and shares the slots fairly between callers."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from backend.contract import BackendBusyError, BackendUnavailableError
from bot.fair_queue import FairQueue, QueueFullError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MAX_WAITING = 128
MAX_WAITING_PER_CALLER = 32
MAX_WAITING_SECONDS = 300.0


class FairShare:
    """A number of slots. Calls that wait for a slot are in a `FairQueue`.

    Args:
        slots: The most calls at once.
    """

    def __init__(self, slots: int) -> None:
        self._free = slots
        self._waiting: FairQueue[str, asyncio.Future[None]] = FairQueue(
            limit=MAX_WAITING, limit_per_caller=MAX_WAITING_PER_CALLER
        )

    def close(self) -> None:
        """Fail every waiting call with `BackendUnavailableError`."""
        while self._waiting:
            slot = self._waiting.pop()
            if not slot.done():
                slot.set_exception(BackendUnavailableError("the bot is shutting down"))

    @asynccontextmanager
    async def slot(self, caller: str) -> AsyncIterator[None]:
        """Acquire a slot, and release it at the end of the block.

        Raises `BackendBusyError` if too many calls of this caller or of all callers wait already,
        or if no slot is free within `MAX_WAITING_SECONDS`.
        """
        await self._acquire(caller)
        try:
            yield
        finally:
            self._release()

    async def _acquire(self, caller: str) -> None:
        if self._free:  # then no other call is waiting
            self._free -= 1
            return
        slot: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        try:
            self._waiting.push(caller, slot)
        except QueueFullError:
            raise BackendBusyError from None
        try:
            async with asyncio.timeout(MAX_WAITING_SECONDS):
                await slot
        except (TimeoutError, asyncio.CancelledError) as error:
            if slot.cancelled():
                self._waiting.remove(slot)
            elif slot.exception() is None:  # the slot was acquired at the same moment
                self._release()
            if isinstance(error, TimeoutError):
                raise BackendBusyError from None
            raise

    def _release(self) -> None:
        while self._waiting:
            slot = self._waiting.pop()
            if not slot.done():  # otherwise its call was cancelled at the same moment
                slot.set_result(None)
                return
        self._free += 1
