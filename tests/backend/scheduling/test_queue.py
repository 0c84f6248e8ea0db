from __future__ import annotations

from collections import Counter
from typing import TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from backend.scheduling.queue import FairQueue, QueueFullError

T = TypeVar("T")
LIMIT = 12
LIMIT_PER_CALLER = 5


def queue_of(*items: str) -> FairQueue[str]:
    """A queue of items that are named after their callers: "a1" belongs to "a"."""
    queue: FairQueue[str] = FairQueue(limit=LIMIT, limit_per_caller=LIMIT_PER_CALLER)
    for item in items:
        queue.push(item[0], item)
    return queue


def pop_all(queue: FairQueue[T], running: Counter[str]) -> list[T]:
    """Take everything out, while nothing gets done."""
    running = running.copy()
    items = []
    while (caller := queue.next_caller(running)) is not None:
        items.append(queue.pop(caller))
        running[caller] += 1
    return items


def test_callers_are_served_round_robin() -> None:
    queue = queue_of("a1", "a2", "a3", "b1", "c1", "c2")

    assert pop_all(queue, Counter()) == ["a1", "b1", "c1", "a2", "c2", "a3"]


def test_a_new_caller_waits_for_one_item_of_each_other_at_most() -> None:
    queue = queue_of("a1", "a2", "a3", "b1", "b2")
    assert queue.pop("a") == "a1"
    queue.push("c", "c1")

    done = Counter[str]()
    assert [queue.pop(queue.next_caller(done) or "") for _ in range(3)] == ["b1", "a2", "c1"]


def test_who_has_the_least_running_comes_first() -> None:
    queue = queue_of("a1", "a2", "b1", "b2", "c1", "c2")

    assert pop_all(queue, Counter(a=2, b=1)) == ["c1", "b1", "c2", "a1", "b2", "a2"]


def test_an_empty_queue_has_no_next_caller() -> None:
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
        self.items: dict[str, list[int]] = {}
        self.running: Counter[str] = Counter()
        self.count = 0

    @rule(caller=st.sampled_from("abcd"))
    def push(self, caller: str) -> None:
        self.count += 1
        items = self.items.get(caller, [])
        has_room = len(self.queue) < LIMIT and len(items) < LIMIT_PER_CALLER
        if not has_room:
            with pytest.raises(QueueFullError):
                self.queue.push(caller, self.count)
            return
        self.queue.push(caller, self.count)
        self.items.setdefault(caller, []).append(self.count)

    @precondition(lambda self: len(self.queue) > 0)
    @rule()
    def pop(self) -> None:
        caller = self.queue.next_caller(self.running)
        assert caller is not None
        waiting = [name for name, items in self.items.items() if items]

        assert self.running[caller] == min(self.running[name] for name in waiting)
        assert self.queue.pop(caller) == self.items[caller].pop(0)
        self.running[caller] += 1

    @rule(caller=st.sampled_from("abcd"))
    def get_one_done(self, caller: str) -> None:
        self.running[caller] = max(0, self.running[caller] - 1)

    @rule(caller=st.sampled_from("abcd"), choice=st.integers(0, 9))
    def remove(self, caller: str, choice: int) -> None:
        items = self.items.get(caller, [])
        item = items[choice % len(items)] if items else -1

        before = len(self.queue)
        self.queue.remove(caller, item)
        assert len(self.queue) == before - bool(items)
        if items:
            items.remove(item)
        self.queue.remove(caller, item)

    @invariant()
    def holds_what_was_put_in(self) -> None:
        assert len(self.queue) == sum(map(len, self.items.values()))

    def teardown(self) -> None:
        expected = sorted(item for items in self.items.values() for item in items)
        assert sorted(pop_all(self.queue, self.running)) == expected


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=30, deadline=None)
