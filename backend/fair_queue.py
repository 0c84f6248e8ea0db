"""A bounded queue in which callers take turns, however much each of them has put in."""

from __future__ import annotations

from collections import deque
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

T = TypeVar("T")


class QueueFullError(Exception):
    """The queue, or this caller's part of it, has no room."""


class FairQueue(Generic[T]):
    """Serves its callers in turn; each caller's own items stay in the order they came.

    A caller who joins is served after at most one item of every other caller.

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

    def pop(self, *, passing_over: Collection[str] = ()) -> T:
        """Take the item whose turn it is.

        Args:
            passing_over: Callers who keep their places, but are not served this time. There must be
                another one.
        """
        caller = next(caller for caller in self._lines if caller not in passing_over)
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

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    def __iter__(self) -> Iterator[T]:
        """Go through the items in the order in which `pop` would give them now."""
        nothing = object()
        rounds = zip_longest(*self._lines.values(), fillvalue=nothing)
        return (item for item in chain.from_iterable(rounds) if item is not nothing)  # type: ignore[misc]
