"""What waits to be said in one guild: members take turns, however much each of them has put in."""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")


class QueueFullError(Exception):
    """Nothing more fits in.

    Attributes:
        for_member: Whether it is the member's own part that is full.
    """

    def __init__(self, *, for_member: bool) -> None:
        super().__init__(for_member)
        self.for_member = for_member


class FairQueue(Generic[T]):
    """Serves members in rounds: one item of everybody who waits, then the next of each.

    Who comes new takes part in the round that is under way, so waits for at most one item of every
    other member; a member's own items keep their order.

    Args:
        limit: How many items fit in.
        limit_per_member: How many of them may belong to one member.
    """

    def __init__(self, *, limit: int, limit_per_member: int) -> None:
        self._limit = limit
        self._limit_per_member = limit_per_member
        self._lines: dict[int, list[_Waiting[T]]] = {}
        self._turns: dict[int, int] = {}
        self._round = 0
        self._arrivals = 0

    def push(self, member: int, item: T, *, asked: int = 0) -> None:
        """Put an item into its member's line, or raise `QueueFullError`.

        Args:
            member: Whose it is.
            item: The item.
            asked: Orders items that were asked for earlier before others, whichever came in first.
        """
        line = self._lines.setdefault(member, [])
        if len(line) >= self._limit_per_member:
            raise QueueFullError(for_member=True)
        if len(self) >= self._limit:
            raise QueueFullError(for_member=False)
        if not line:
            self._turns[member] = max(self._turns.get(member, 0), self._round)
        self._arrivals += 1
        insort(line, _Waiting(asked, self._arrivals, item), key=_Waiting.order)

    def pop(self) -> T:
        """Take the item whose turn it is. There must be one."""
        turn, _, _, member = min(self._order())
        item = self._lines[member].pop(0).item
        self._round = turn
        self._turns[member] = turn + 1
        self._forget_absent()
        return item

    def remove(self, item: T) -> bool:
        """Take an item out; return whether it was still there."""
        for line in self._lines.values():
            for place, waiting in enumerate(line):
                if waiting.item is item:
                    del line[place]
                    return True
        return False

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    def __iter__(self) -> Iterator[T]:
        """Go through the items in the order in which `pop` would give them now."""
        items = {waiting.arrival: waiting.item for line in self._lines.values() for waiting in line}
        return iter([items[arrival] for _, _, arrival, _ in sorted(self._order())])

    def _forget_absent(self) -> None:
        """Let go of members who wait for nothing and would begin in this round anyway."""
        self._lines = {member: line for member, line in self._lines.items() if line}
        self._turns = {
            member: turn
            for member, turn in self._turns.items()
            if member in self._lines or turn > self._round
        }

    def _order(self) -> Iterator[tuple[int, int, int, int]]:
        """Round, time of asking, arrival and member of every item: what decides the order."""
        for member, line in self._lines.items():
            for place, waiting in enumerate(line, start=self._turns[member]):
                yield place, waiting.asked, waiting.arrival, member


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[T]):
    asked: int
    arrival: int
    item: T

    def order(self) -> tuple[int, int]:
        """What comes first in its member's line."""
        return self.asked, self.arrival
