"""A bounded queue that serves its callers round by round, however much each has put in."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

C = TypeVar("C", bound=Hashable)
T = TypeVar("T")


class QueueFullError(Exception):
    """Nothing more fits in.

    Attributes:
        for_caller: Whether it is the caller's own part that is full.
    """

    def __init__(self, *, for_caller: bool) -> None:
        super().__init__(for_caller)
        self.for_caller = for_caller


class FairQueue(Generic[C, T]):
    """Serves callers in rounds: one item of everybody who waits, then the next of each.

    Who comes new takes part in the round that is under way, so waits for at most one item of every
    other caller; who has had a turn in it waits for the next round. Own items keep their order.

    Args:
        limit: How many items fit in.
        limit_per_caller: How many of them may belong to one caller.
    """

    def __init__(self, *, limit: int, limit_per_caller: int) -> None:
        self._limit = limit
        self._limit_per_caller = limit_per_caller
        self._lines: dict[C, list[tuple[int, T]]] = {}
        self._turns: dict[C, int] = {}
        self._round = 0
        self._arrivals = 0

    def push(self, caller: C, item: T) -> None:
        """Put an item at the end of its caller's line, or raise `QueueFullError`."""
        line = self._lines.setdefault(caller, [])
        if len(line) >= self._limit_per_caller:
            raise QueueFullError(for_caller=True)
        if len(self) >= self._limit:
            raise QueueFullError(for_caller=False)
        if not line:
            self._turns[caller] = max(self._turns.get(caller, 0), self._round)
        self._arrivals += 1
        line.append((self._arrivals, item))

    def pop(self) -> T:
        """Take the item whose turn it is. There must be one."""
        turn, _, caller = min(self._order(), key=lambda place: place[:2])
        _, item = self._lines[caller].pop(0)
        self._round = turn
        self._turns[caller] = turn + 1
        self._forget_absent()
        return item

    def remove(self, item: T) -> bool:
        """Take an item out; return whether it was still there."""
        for line in self._lines.values():
            for place, (_, waiting) in enumerate(line):
                if waiting is item:
                    del line[place]
                    return True
        return False

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    def __iter__(self) -> Iterator[T]:
        """Go through the items in the order in which `pop` would give them now."""
        items = {arrival: item for line in self._lines.values() for arrival, item in line}
        return iter(
            [items[arrival] for _, arrival, _ in sorted(self._order(), key=lambda place: place[:2])]
        )

    def _forget_absent(self) -> None:
        """Let go of callers who wait for nothing and would begin in this round anyway."""
        self._lines = {caller: line for caller, line in self._lines.items() if line}
        self._turns = {
            caller: turn
            for caller, turn in self._turns.items()
            if caller in self._lines or turn > self._round
        }

    def _order(self) -> Iterator[tuple[int, int, C]]:
        """Round, arrival and caller of every item: what decides the order."""
        for caller, line in self._lines.items():
            for place, (arrival, _) in enumerate(line, start=self._turns[caller]):
                yield place, arrival, caller
