"""Places are taken in turn, and none gets lost."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.contract import BackendBusyError
from bot.speech.modal.fair_share import MAX_WAITING_PER_CALLER, Turns


class Crowd:
    """Calls that each hold a place until they are told to end."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.running: list[str] = []
        self.order: list[str] = []
        self._ends: dict[asyncio.Task[None], asyncio.Event] = {}

    async def joins(self, caller: str) -> asyncio.Task[None]:
        end = asyncio.Event()
        task = asyncio.create_task(self._call(caller, end))
        self._ends[task] = end
        await asyncio.sleep(0)
        return task

    async def leaves(self, task: asyncio.Task[None]) -> None:
        self._ends[task].set()
        await task

    async def stops(self, task: asyncio.Task[None]) -> None:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    def sends_away(self, task: asyncio.Task[None], how: str) -> None:
        if how in {"leave", "both"}:
            self._ends[task].set()
        if how in {"stop", "both"}:
            task.cancel()

    async def _call(self, caller: str, end: asyncio.Event) -> None:
        async with self.turns.turn_of(caller):
            self.running.append(caller)
            self.order.append(caller)
            try:
                await end.wait()
            finally:
                self.running.remove(caller)


async def test_a_newcomer_waits_for_one_call_of_each_other_caller_at_most() -> None:
    crowd = Crowd(Turns(1))
    tasks = [await crowd.joins("busy guild") for _ in range(4)]
    tasks.append(await crowd.joins("another guild"))
    await crowd.leaves(tasks[0])
    await crowd.leaves(tasks[1])
    await asyncio.sleep(0)
    assert crowd.running == ["another guild"]
    for task in (tasks[4], tasks[2], tasks[3]):
        await crowd.leaves(task)
    assert crowd.order == ["busy guild"] * 2 + ["another guild"] + ["busy guild"] * 2


async def test_who_asks_for_too_much_is_refused_and_others_are_not() -> None:
    crowd = Crowd(Turns(1))
    tasks = [await crowd.joins("greedy") for _ in range(1 + MAX_WAITING_PER_CALLER)]
    with pytest.raises(BackendBusyError):
        await (await crowd.joins("greedy"))
    tasks.append(await crowd.joins("modest"))
    for task in tasks:
        await crowd.stops(task)


moves = st.lists(
    st.tuples(st.sampled_from(["join", "leave", "stop", "both"]), st.integers(0, 30)),
    max_size=40,
)


@settings(deadline=None, max_examples=80)
@given(moves=moves, places=st.integers(1, 3))
def test_whatever_happens_no_place_is_lost_or_given_twice(
    moves: list[tuple[str, int]], places: int
) -> None:
    async def play() -> None:
        crowd = Crowd(Turns(places))
        present: list[asyncio.Task[None]] = []
        for move, number in moves:
            if move == "join":
                present.append(await crowd.joins(f"guild {number % 3}"))
            elif present:
                crowd.sends_away(present.pop(number % len(present)), move)
            for _ in range(number % 4):
                await asyncio.sleep(0)
            assert len(crowd.running) <= places
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(crowd.running) == min(places, len(present))
        for task in present:
            await crowd.stops(task)

        newcomers = [await crowd.joins("newcomer") for _ in range(places)]
        assert len(crowd.running) == places
        for task in newcomers:
            await crowd.stops(task)

    asyncio.run(play())
