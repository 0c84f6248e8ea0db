"""Bound how many calls run at once, and share the places fairly."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from backend.contract import BackendBusyError, BackendUnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MAX_WAITING = 128
MAX_WAITING_PER_CALLER = 32
MAX_WAITING_SECONDS = 300.0


class Turns:
    """A number of places that callers take in turn, however much each of them asks for.

    A caller who joins gets a place after at most one call of every other caller who waits.

    Args:
        places: How many calls may run at once.
    """

    def __init__(self, places: int) -> None:
        self._free = places
        self._lines: dict[str, deque[asyncio.Future[None]]] = {}  # in turn; no line is empty

    def close(self) -> None:
        """Have everyone who waits give up."""
        for line in self._lines.values():
            for place in line:
                if not place.done():
                    place.set_exception(BackendUnavailableError("the bot is shutting down"))
        self._lines.clear()

    @asynccontextmanager
    async def turn_of(self, caller: str) -> AsyncIterator[None]:
        """Hold a place while the block runs.

        Raises `BackendBusyError` if too many wait already, or too many of this caller's, or if the
        turn does not come within `MAX_WAITING_SECONDS`.
        """
        await self._take(caller)
        try:
            yield
        finally:
            self._give_back()

    async def _take(self, caller: str) -> None:
        if self._free:  # then nobody waits
            self._free -= 1
            return
        line = self._lines.get(caller, deque())
        waiting = sum(map(len, self._lines.values()))
        if waiting >= MAX_WAITING or len(line) >= MAX_WAITING_PER_CALLER:
            raise BackendBusyError
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line.append(place)
        self._lines[caller] = line
        try:
            async with asyncio.timeout(MAX_WAITING_SECONDS):
                await place
        except (TimeoutError, asyncio.CancelledError) as error:
            if place.cancelled():
                self._leave(caller, place)
            else:  # the place came at the same moment
                self._give_back()
            if isinstance(error, TimeoutError):
                raise BackendBusyError from None
            raise

    def _leave(self, caller: str, place: asyncio.Future[None]) -> None:
        line = self._lines.get(caller)
        if line is not None and place in line:
            line.remove(place)
            if not line:
                del self._lines[caller]

    def _give_back(self) -> None:
        while self._lines:
            caller = next(iter(self._lines))
            line = self._lines.pop(caller)
            place = line.popleft()
            if line:
                self._lines[caller] = line
            if not place.done():  # whoever waited for it has not left at this very moment
                place.set_result(None)
                return
        self._free += 1
