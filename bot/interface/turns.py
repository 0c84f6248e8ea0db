"""Commands of one person take effect in the order in which they were typed."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Turn:
    """One command's place behind the earlier ones of the same person."""

    def __init__(self, before: Turn | None) -> None:
        self._before = before
        self._over = asyncio.Event()

    async def comes(self) -> None:
        """Wait until the commands before this one have taken effect, or failed."""
        while self._before is not None:
            await self._before._over.wait()  # noqa: SLF001 - of the same class
            self._before = self._before._before  # noqa: SLF001 - it may have failed without waiting

    def end(self) -> None:
        """Let the next command take effect."""
        self._over.set()


class Turns:
    """Gives out turns, at the moment in which commands come in."""

    def __init__(self) -> None:
        self._last: dict[int, Turn] = {}
        self._open: Counter[int] = Counter()

    @contextmanager
    def taken(self, person_id: int) -> Iterator[Turn]:
        """Take a person's next turn; it is over at the end of the block at the latest."""
        turn = self._last[person_id] = Turn(self._last.get(person_id))
        self._open[person_id] += 1
        try:
            yield turn
        finally:
            turn.end()
            self._open[person_id] -= 1
            if not self._open[person_id]:
                del self._open[person_id], self._last[person_id]
