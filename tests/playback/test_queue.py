"""Whose turn it is: one person's many items do not bury another's one."""

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


def queue(limit: int = 100, limit_per_member: int = 100) -> FairQueue[Item]:
    return FairQueue(limit=limit, limit_per_member=limit_per_member)


def served(waiting: FairQueue[Item]) -> list[int]:
    return [waiting.pop().owner for _ in range(len(waiting))]


def test_one_item_waits_behind_one_of_ten() -> None:
    waiting = queue()
    for _ in range(10):
        waiting.push(ADA, Item(ADA))
    waiting.push(GRACE, Item(GRACE))
    assert served(waiting)[:3] == [ADA, GRACE, ADA]


def test_who_was_just_served_lets_a_newcomer_go_first() -> None:
    waiting = queue()
    for _ in range(3):
        waiting.push(ADA, Item(ADA))
    waiting.pop()
    waiting.push(GRACE, Item(GRACE))
    assert served(waiting) == [GRACE, ADA, ADA]


def test_who_was_away_has_saved_nothing_up() -> None:
    waiting = queue()
    for _ in range(5):
        waiting.push(ADA, Item(ADA))
        waiting.pop()
    for _ in range(3):
        waiting.push(GRACE, Item(GRACE))
        waiting.push(ADA, Item(ADA))
    assert served(waiting)[1:] == [ADA, GRACE, ADA, GRACE, ADA]


def test_a_member_who_takes_items_back_does_not_lose_the_turn() -> None:
    waiting = queue()
    items = [Item(ADA, number) for number in range(5)]
    for item in items:
        waiting.push(ADA, item)
    for number in range(4):
        waiting.push(GRACE, Item(GRACE, number))
    for item in items[:4]:
        assert waiting.remove(item)
    assert served(waiting)[:2].count(ADA) == 1


def test_what_is_gone_cannot_be_removed() -> None:
    waiting = queue()
    item = Item(ADA)
    waiting.push(ADA, item)
    waiting.pop()
    assert not waiting.remove(item)


def test_limits() -> None:
    waiting = queue(limit=3, limit_per_member=2)
    waiting.push(ADA, Item(ADA))
    waiting.push(ADA, Item(ADA))
    with pytest.raises(QueueFullError) as full:
        waiting.push(ADA, Item(ADA))
    assert full.value.for_member
    waiting.push(GRACE, Item(GRACE))
    with pytest.raises(QueueFullError) as full:
        waiting.push(LINUS, Item(LINUS))
    assert not full.value.for_member


members = st.integers(min_value=1, max_value=4)


@given(st.lists(st.one_of(members, st.just("pop"), st.just("remove"))))
def test_any_order_of_events_is_fair(events: list[int | str]) -> None:
    """A newcomer waits for at most one item of each other member, anybody else for at most two."""
    waiting = queue()
    inside: list[Item] = []
    served_before: set[int] = set()
    ahead: dict[int, Counter[int]] = {}  # what was served since a member began to wait
    for number, event in enumerate(events):
        if isinstance(event, int):
            if not any(item.owner == event for item in inside):
                ahead[event] = Counter()
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
            assert max(ahead[item.owner].values(), default=0) <= most
            served_before.add(item.owner)
            for others in ahead.values():
                others[item.owner] += 1
            ahead[item.owner] = Counter()
        assert len(waiting) == len(inside)
        assert {id(item) for item in waiting} == {id(item) for item in inside}
