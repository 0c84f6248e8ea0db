from __future__ import annotations

from collections import Counter
from typing import TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from backend.scheduling.fair_queue import FairQueue, QueueFullError

T = TypeVar("T")
LIMIT = 12
LIMIT_PER_CALLER = 5


def queue_of(*items: str) -> FairQueue[str]:
    """A queue of items that are named after their callers: "a1" belongs to "a"."""
    queue: FairQueue[str] = FairQueue(limit=LIMIT, limit_per_caller=LIMIT_PER_CALLER)
    for item in items:
        queue.push(item[0], item)
    return queue


def pop_all(queue: FairQueue[T], under_way: Counter[str]) -> list[T]:
    """Take everything out, while nothing gets done."""
    under_way = under_way.copy()
    items = []
    while (caller := queue.next_caller(under_way)) is not None:
        items.append(queue.pop(caller))
        under_way[caller] += 1
    return items


def test_callers_take_turns() -> None:
    queue = queue_of("a1", "a2", "a3", "b1", "c1", "c2")

    assert pop_all(queue, Counter()) == ["a1", "b1", "c1", "a2", "c2", "a3"]


def test_a_newcomer_waits_for_one_item_of_each_other_at_most() -> None:
    queue = queue_of("a1", "a2", "a3", "b1", "b2")
    assert queue.pop("a") == "a1"
    queue.push("c", "c1")

    done = Counter[str]()
    assert [queue.pop(queue.next_caller(done) or "") for _ in range(3)] == ["b1", "a2", "c1"]


def test_who_has_the_least_under_way_comes_first() -> None:
    queue = queue_of("a1", "a2", "b1", "b2", "c1", "c2")

    assert pop_all(queue, Counter(a=2, b=1)) == ["c1", "b1", "c2", "a1", "b2", "a2"]


def test_an_empty_queue_is_nobodys_turn() -> None:
    assert queue_of().next_caller(Counter()) is None


def test_one_caller_cannot_fill_it() -> None:
    queue = queue_of(*(f"a{number}" for number in range(LIMIT_PER_CALLER)))

    with pytest.raises(QueueFullError):
        queue.push("a", "a9")
    queue.push("b", "b1")


class AnyOrder(RuleBasedStateMachine):
    """Compares the queue with lists of what each caller put in."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: FairQueue[int] = FairQueue(limit=LIMIT, limit_per_caller=LIMIT_PER_CALLER)
        self.lines: dict[str, list[int]] = {}
        self.under_way: Counter[str] = Counter()
        self.count = 0

    @rule(caller=st.sampled_from("abcd"))
    def push(self, caller: str) -> None:
        self.count += 1
        line = self.lines.get(caller, [])
        has_room = len(self.queue) < LIMIT and len(line) < LIMIT_PER_CALLER
        if not has_room:
            with pytest.raises(QueueFullError):
                self.queue.push(caller, self.count)
            return
        self.queue.push(caller, self.count)
        self.lines.setdefault(caller, []).append(self.count)

    @precondition(lambda self: len(self.queue) > 0)
    @rule()
    def pop(self) -> None:
        caller = self.queue.next_caller(self.under_way)
        assert caller is not None
        waiting = [name for name, line in self.lines.items() if line]

        assert self.under_way[caller] == min(self.under_way[name] for name in waiting)
        assert self.queue.pop(caller) == self.lines[caller].pop(0)
        self.under_way[caller] += 1

    @rule(caller=st.sampled_from("abcd"))
    def get_one_done(self, caller: str) -> None:
        self.under_way[caller] = max(0, self.under_way[caller] - 1)

    @rule(caller=st.sampled_from("abcd"), choice=st.integers(0, 9))
    def remove(self, caller: str, choice: int) -> None:
        line = self.lines.get(caller, [])
        item = line[choice % len(line)] if line else -1

        assert self.queue.remove(caller, item) == bool(line)
        if line:
            line.remove(item)
        assert not self.queue.remove(caller, item)

    @invariant()
    def holds_what_was_put_in(self) -> None:
        items = list(self.queue.in_order(self.under_way))
        assert sorted(items) == sorted(item for line in self.lines.values() for item in line)
        assert len(self.queue) == len(items)

    def teardown(self) -> None:
        foreseen = list(self.queue.in_order(self.under_way))
        assert pop_all(self.queue, self.under_way) == foreseen


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=30, deadline=None)
