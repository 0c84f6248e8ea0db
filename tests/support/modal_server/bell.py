"""Waiting for something to become true."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Bell:
    """Rung whenever something changed, so that those who wait for it look again."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()

    def ring(self) -> None:
        """Have everyone who waits look again."""
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    async def until(self, look: Callable[[], T], seconds: float) -> T:
        """What `look()` gives as soon as that is truthy, or what it gives when time is up."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while not (seen := look()) and (left := deadline - loop.time()) > 0:
            rung = loop.create_future()
            self._waiting.add(rung)
            try:
                await asyncio.wait([rung], timeout=left)
            finally:
                self._waiting.discard(rung)
        return seen
