"""One caller's many items do not hold up another caller's single one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.fair_queue import FairQueue, QueueFullError

ADA, GRACE, LINUS = 1, 2, 3


@dataclass(eq=False)
class Item:
    owner: int
    number: int = 0


def queue(limit: int = 100, limit_per_caller: int = 100) -> FairQueue[int, Item]:
    return FairQueue(limit=limit, limit_per_caller=limit_per_caller)


def served(waiting: FairQueue[int, Item]) -> list[int]:
    return [waiting.pop().owner for _ in range(len(waiting))]


def test_a_single_item_waits_for_one_of_ten() -> None:
    waiting = queue()
    for _ in range(10):
        waiting.push(ADA, Item(ADA))
    waiting.push(GRACE, Item(GRACE))
    assert served(waiting)[:3] == [ADA, GRACE, ADA]


def test_a_new_caller_goes_before_one_that_was_just_served() -> None:
    waiting = queue()
    for _ in range(3):
        waiting.push(ADA, Item(ADA))
    waiting.pop()
    waiting.push(GRACE, Item(GRACE))
    assert served(waiting) == [GRACE, ADA, ADA]


def test_an_absent_caller_saves_nothing_up() -> None:
    waiting = queue()
    for _ in range(5):
        waiting.push(ADA, Item(ADA))
        waiting.pop()
    for _ in range(3):
        waiting.push(GRACE, Item(GRACE))
        waiting.push(ADA, Item(ADA))
    assert served(waiting)[1:] == [ADA, GRACE, ADA, GRACE, ADA]


def test_removing_items_does_not_make_their_caller_wait_longer() -> None:
    waiting = queue()
    items = [Item(ADA, number) for number in range(5)]
    for item in items:
        waiting.push(ADA, item)
    for number in range(4):
        waiting.push(GRACE, Item(GRACE, number))
    for item in items[:4]:
        assert waiting.remove(item)
    assert served(waiting)[:2].count(ADA) == 1


def test_a_popped_item_cannot_be_removed() -> None:
    waiting = queue()
    item = Item(ADA)
    waiting.push(ADA, item)
    waiting.pop()
    assert not waiting.remove(item)


def test_limits() -> None:
    waiting = queue(limit=3, limit_per_caller=2)
    waiting.push(ADA, Item(ADA))
    waiting.push(ADA, Item(ADA))
    with pytest.raises(QueueFullError) as full:
        waiting.push(ADA, Item(ADA))
    assert full.value.for_caller
    waiting.push(GRACE, Item(GRACE))
    with pytest.raises(QueueFullError) as full:
        waiting.push(LINUS, Item(LINUS))
    assert not full.value.for_caller
    assert [item.owner for item in waiting] == [ADA, GRACE, ADA]
    assert [waiting.pop().owner for _ in range(3)] == [ADA, GRACE, ADA]
    waiting.push(LINUS, Item(LINUS))
    assert waiting.pop().owner == LINUS


callers = st.integers(min_value=1, max_value=4)


@given(st.lists(st.one_of(callers, st.just("pop"), st.just("remove"))))
def test_any_order_of_events_is_fair(events: list[int | str]) -> None:
    """A new caller waits for at most one item of each other caller, any caller for at most two."""
    waiting = queue()
    inside: list[Item] = []
    served_before: set[int] = set()
    served_since: dict[int, Counter[int]] = {}  # what was served since a caller began to wait
    for number, event in enumerate(events):
        if isinstance(event, int):
            if not any(item.owner == event for item in inside):
                served_since[event] = Counter()
            item = Item(event, number)
            inside.append(item)
            waiting.push(event, item)
        elif inside and event == "remove":
            item = inside.pop(len(inside) // 2)
            assert waiting.remove(item)
        elif inside:
            expected = next(iter(waiting))
            item = waiting.pop()
            assert item is expected
            inside.remove(item)
            assert all(item.number < other.number for other in inside if other.owner == item.owner)
            most = 2 if item.owner in served_before else 1
            assert max(served_since[item.owner].values(), default=0) <= most
            served_before.add(item.owner)
            for others in served_since.values():
                others[item.owner] += 1
            served_since[item.owner] = Counter()
        assert len(waiting) == len(inside)
        assert {id(item) for item in waiting} == {id(item) for item in inside}
