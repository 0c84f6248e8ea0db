from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from backend.fair_queue import FairQueue, QueueFullError

LIMIT = 12
LIMIT_PER_CALLER = 5


def queue_of(*items: str) -> FairQueue[str]:
    """A queue of items that are named after their callers: "a1" belongs to "a"."""
    queue: FairQueue[str] = FairQueue(limit=LIMIT, limit_per_caller=LIMIT_PER_CALLER)
    for item in items:
        queue.push(item[0], item)
    return queue


def test_callers_take_turns() -> None:
    queue = queue_of("a1", "a2", "a3", "b1", "c1", "c2")

    assert [queue.pop() for _ in range(6)] == ["a1", "b1", "c1", "a2", "c2", "a3"]


def test_a_newcomer_waits_for_one_item_of_each_other_at_most() -> None:
    queue = queue_of("a1", "a2", "a3", "b1", "b2")
    assert queue.pop() == "a1"
    queue.push("c", "c1")

    assert [queue.pop() for _ in range(3)] == ["b1", "a2", "c1"]


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
        self.count = 0
        self.served_since_joining: dict[str, Counter[str]] = {}

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
        if not line:
            self.served_since_joining[caller] = Counter()
        self.lines.setdefault(caller, []).append(self.count)

    @precondition(lambda self: len(self.queue) > 0)
    @rule()
    def pop(self) -> None:
        expected = next(iter(self.queue))
        item = self.queue.pop()
        caller = next(name for name, line in self.lines.items() if item in line)

        assert item == expected
        assert item == self.lines[caller].pop(0)
        assert all(times <= 1 for times in self.served_since_joining[caller].values())
        self.served_since_joining[caller] = Counter()
        for other, served in self.served_since_joining.items():
            if other != caller and self.lines[other]:
                served[caller] += 1

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
        assert sorted(self.queue) == sorted(item for line in self.lines.values() for item in line)
        assert len(self.queue) == len(list(self.queue))


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=30, deadline=None)
