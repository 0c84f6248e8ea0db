"""What waits to be said in one guild: members take turns, however much each of them has put in."""

from __future__ import annotations

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
    other member; who has had a turn in it waits for the next round. Own items keep their order.

    Args:
        limit: How many items fit in.
        limit_per_member: How many of them may belong to one member.
    """

    def __init__(self, *, limit: int, limit_per_member: int) -> None:
        self._limit = limit
        self._limit_per_member = limit_per_member
        self._lines: dict[int, list[tuple[int, T]]] = {}
        self._turns: dict[int, int] = {}
        self._round = 0
        self._arrivals = 0

    def push(self, member: int, item: T) -> None:
        """Put an item at the end of its member's line, or raise `QueueFullError`."""
        line = self._lines.setdefault(member, [])
        if len(line) >= self._limit_per_member:
            raise QueueFullError(for_member=True)
        if len(self) >= self._limit:
            raise QueueFullError(for_member=False)
        if not line:
            self._turns[member] = max(self._turns.get(member, 0), self._round)
        self._arrivals += 1
        line.append((self._arrivals, item))

    def pop(self) -> T:
        """Take the item whose turn it is. There must be one."""
        turn, _, member = min(self._order())
        _, item = self._lines[member].pop(0)
        self._round = turn
        self._turns[member] = turn + 1
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
        return iter([items[arrival] for _, arrival, _ in sorted(self._order())])

    def _forget_absent(self) -> None:
        """Let go of members who wait for nothing and would begin in this round anyway."""
        self._lines = {member: line for member, line in self._lines.items() if line}
        self._turns = {
            member: turn
            for member, turn in self._turns.items()
            if member in self._lines or turn > self._round
        }

    def _order(self) -> Iterator[tuple[int, int, int]]:
        """Round, arrival and member of every item: what decides the order."""
        for member, line in self._lines.items():
            for place, (arrival, _) in enumerate(line, start=self._turns[member]):
                yield place, arrival, member
