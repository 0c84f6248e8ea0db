"""A bounded queue in which callers take turns, however much each of them has put in."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")


class QueueFullError(Exception):
    """The queue, or this caller's part of it, has no room."""


class FairQueue(Generic[T]):
    """Serves its callers in turn; each caller's own items stay in the order they came.

    It is the turn of whoever has the fewest items under way. Among equals, a caller who joins is
    served after at most one item of every other caller.

    Args:
        limit: How many items fit in.
        limit_per_caller: How many of them may belong to one caller.
    """

    def __init__(self, *, limit: int, limit_per_caller: int) -> None:
        self._limit = limit
        self._limit_per_caller = limit_per_caller
        self._lines: dict[str, deque[T]] = {}  # in the order of their turns; no line is empty

    def push(self, caller: str, item: T) -> None:
        """Put an item at the end of its caller's line, or raise `QueueFullError`."""
        line = self._lines.get(caller, deque())
        if len(self) >= self._limit or len(line) >= self._limit_per_caller:
            raise QueueFullError
        line.append(item)
        self._lines[caller] = line

    def next_caller(self, under_way: Counter[str]) -> str | None:
        """Say whose turn it is; None if the queue is empty.

        Args:
            under_way: How many items of each caller have been taken, and are not done.
        """
        return min(self._lines, key=lambda caller: under_way[caller], default=None)

    def pop(self, caller: str) -> T:
        """Take a caller's first item; there must be one. Its next turn comes after the others'."""
        line = self._lines.pop(caller)
        item = line.popleft()
        if line:
            self._lines[caller] = line
        return item

    def remove(self, caller: str, item: T) -> bool:
        """Take an item out of its caller's line; return whether it was still there."""
        line = self._lines.get(caller)
        if line is None or item not in line:
            return False
        line.remove(item)
        if not line:
            del self._lines[caller]
        return True

    def in_order(self, under_way: Counter[str]) -> Iterator[T]:
        """Go through the items in the order of their turns, if nothing under way were done before.

        Args:
            under_way: As for `next_caller`.
        """
        rest: FairQueue[T] = FairQueue(limit=self._limit, limit_per_caller=self._limit_per_caller)
        for owner, line in self._lines.items():
            for item in line:
                rest.push(owner, item)
        taken = under_way.copy()
        while (caller := rest.next_caller(taken)) is not None:
            yield rest.pop(caller)
            taken[caller] += 1

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))
