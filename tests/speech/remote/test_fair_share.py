"""Slots are shared fairly, and none is lost."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.contract import BackendBusyError
from bot.speech.remote.fair_share import MAX_WAITING_PER_CALLER, FairShare


class Calls:
    """Calls that each hold a slot until a test ends them."""

    def __init__(self, share: FairShare) -> None:
        self.share = share
        self.running: list[str] = []
        self.order: list[str] = []
        self._ends: dict[asyncio.Task[None], asyncio.Event] = {}

    async def begins(self, caller: str) -> asyncio.Task[None]:
        end = asyncio.Event()
        task = asyncio.create_task(self._call(caller, end))
        self._ends[task] = end
        await asyncio.sleep(0)
        return task

    async def ends(self, task: asyncio.Task[None]) -> None:
        self._ends[task].set()
        await task

    async def cancels(self, task: asyncio.Task[None]) -> None:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    def lets_go(self, task: asyncio.Task[None], how: str) -> None:
        if how in {"end", "both"}:
            self._ends[task].set()
        if how in {"cancel", "both"}:
            task.cancel()

    async def _call(self, caller: str, end: asyncio.Event) -> None:
        async with self.share.slot(caller):
            self.running.append(caller)
            self.order.append(caller)
            try:
                await end.wait()
            finally:
                self.running.remove(caller)


async def test_a_new_caller_waits_for_at_most_one_call_of_each_other_caller() -> None:
    calls = Calls(FairShare(1))
    tasks = [await calls.begins("busy guild") for _ in range(4)]
    tasks.append(await calls.begins("another guild"))
    await calls.ends(tasks[0])
    await calls.ends(tasks[1])
    await asyncio.sleep(0)
    assert calls.running == ["another guild"]
    for task in (tasks[4], tasks[2], tasks[3]):
        await calls.ends(task)
    assert calls.order == ["busy guild"] * 2 + ["another guild"] + ["busy guild"] * 2


async def test_a_caller_with_too_many_calls_is_refused_and_others_are_not() -> None:
    calls = Calls(FairShare(1))
    tasks = [await calls.begins("greedy") for _ in range(1 + MAX_WAITING_PER_CALLER)]
    with pytest.raises(BackendBusyError):
        await (await calls.begins("greedy"))
    tasks.append(await calls.begins("modest"))
    for task in tasks:
        await calls.cancels(task)


moves = st.lists(
    st.tuples(st.sampled_from(["begin", "end", "cancel", "both"]), st.integers(0, 30)),
    max_size=40,
)


@settings(deadline=None, max_examples=80)
@given(moves=moves, slots=st.integers(1, 3))
def test_no_slot_is_lost_or_acquired_twice_in_any_order_of_events(
    moves: list[tuple[str, int]], slots: int
) -> None:
    async def play() -> None:
        calls = Calls(FairShare(slots))
        present: list[asyncio.Task[None]] = []
        for move, number in moves:
            if move == "begin":
                present.append(await calls.begins(f"guild {number % 3}"))
            elif present:
                calls.lets_go(present.pop(number % len(present)), move)
            for _ in range(number % 4):
                await asyncio.sleep(0)
            assert len(calls.running) <= slots
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(calls.running) == min(slots, len(present))
        for task in present:
            await calls.cancels(task)

        new_tasks = [await calls.begins("new guild") for _ in range(slots)]
        assert len(calls.running) == slots
        for task in new_tasks:
            await calls.cancels(task)

    asyncio.run(play())
