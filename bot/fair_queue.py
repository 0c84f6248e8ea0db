"""A bounded queue that is fair between callers, however many items each of them adds."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

C = TypeVar("C", bound=Hashable)
T = TypeVar("T")


class QueueFullError(Exception):
    """The queue is full, or the caller has too many items in it.

    Attributes:
        for_caller: Whether the limit for one caller was reached.
    """

    def __init__(self, *, for_caller: bool) -> None:
        super().__init__(for_caller)
        self.for_caller = for_caller


class FairQueue(Generic[C, T]):
    """Serves callers in rounds: one item of each caller, then the next item of each, and so on.

    A new caller is served in the current round, so it waits for at most one item of each other
    caller. A caller that was served in the current round waits for the next round. The items of one
    caller stay in order.

    Args:
        limit: The most items in the queue.
        limit_per_caller: The most items of one caller.
    """

    def __init__(self, *, limit: int, limit_per_caller: int) -> None:
        self._limit = limit
        self._limit_per_caller = limit_per_caller
        self._items: dict[C, list[tuple[int, T]]] = {}  # each with the number of its arrival
        self._next_rounds: dict[C, int] = {}
        self._round = 0
        self._arrivals = 0

    def push(self, caller: C, item: T) -> None:
        """Append an item to those of its caller. Raises `QueueFullError`."""
        items = self._items.get(caller, [])
        if len(items) >= self._limit_per_caller:
            raise QueueFullError(for_caller=True)
        if len(self) >= self._limit:
            raise QueueFullError(for_caller=False)
        if not items:
            self._next_rounds[caller] = max(self._next_rounds.get(caller, 0), self._round)
        self._items[caller] = items
        self._arrivals += 1
        items.append((self._arrivals, item))

    def pop(self) -> T:
        """Remove and return the next item. The queue must not be empty."""
        self._round, _, caller, item = min(self._entries())
        del self._items[caller][0]
        self._next_rounds[caller] = self._round + 1
        self._forget_idle_callers()
        return item

    def remove(self, item: T) -> bool:
        """Remove an item; return whether it was in the queue."""
        for items in self._items.values():
            for index, (_, waiting) in enumerate(items):
                if waiting is item:
                    del items[index]
                    return True
        return False

    def __len__(self) -> int:
        return sum(map(len, self._items.values()))

    def __iter__(self) -> Iterator[T]:
        """Iterate over the items in the order in which `pop` would return them now."""
        return (item for _, _, _, item in sorted(self._entries()))

    def _forget_idle_callers(self) -> None:
        """Drop callers without items that would start in the current round anyway."""
        self._items = {caller: items for caller, items in self._items.items() if items}
        self._next_rounds = {
            caller: number
            for caller, number in self._next_rounds.items()
            if caller in self._items or number > self._round
        }

    def _entries(self) -> Iterator[tuple[int, int, C, T]]:
        """Yield the round, arrival, caller and item of each. Round and arrival define the order."""
        for caller, items in self._items.items():
            for number, (arrival, item) in enumerate(items, start=self._next_rounds[caller]):
                yield number, arrival, caller, item
