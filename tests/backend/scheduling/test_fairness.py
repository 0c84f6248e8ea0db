"""Fair shares of the rows: no caller's many or endless sentences keep others waiting."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.backend.scheduling.serving import serving, speaking, until
from tests.backend.scripted_engine import ScriptedEngine, request

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from backend.scheduling.request import ScheduledSpeech
    from backend.scheduling.scheduler import Scheduler

    Submitted = AbstractContextManager[ScheduledSpeech]

ENDLESS = 100_000


def ask(scheduler: Scheduler, stack: ExitStack, chunks: int, name: str) -> Submitted:
    """Submit a sentence whose name begins with its caller's. Exiting the result cancels it.

    It has been read, so it can be spoken from the next frame on.
    """
    submitted = scheduler.submit(request(chunks, name=name, caller=name[0]))
    stack.enter_context(submitted).reading.result(timeout=5)
    return submitted


@pytest.mark.parametrize(("rows", "of_one_caller"), [(16, 12), (8, 6), (4, 3), (3, 2), (2, 1)])
async def test_new_callers_start_at_the_next_frame_though_others_speak_for_ever(
    rows: int, of_one_caller: int
) -> None:
    engine = ScriptedEngine(is_held=True)
    async with serving(engine, rows=rows) as scheduler:
        with ExitStack() as stack:
            for number in range(rows):
                ask(scheduler, stack, ENDLESS, f"a{number}")
            engine.allow(1)
            await until(lambda: engine.steps == 2)
            assert scheduler.load().running == of_one_caller

            new_callers = "bcde"[: rows - of_one_caller]
            for name in new_callers:
                ask(scheduler, stack, ENDLESS, name)
            engine.allow(1)
            await until(lambda: scheduler.load().running == rows)
            assert engine.added[of_one_caller:] == [f"{ENDLESS} {name}" for name in new_callers]
            assert engine.steps <= 3


async def test_a_single_row_is_shared_round_robin() -> None:
    engine = ScriptedEngine(is_held=True)
    async with serving(engine, rows=1) as scheduler:
        first = await speaking(scheduler, request(1, name="a0"), caller="a")
        await until(lambda: engine.steps == 1)
        others = [
            await speaking(scheduler, request(1, name=name), caller=name[0])
            for name in ("a1", "a2", "b1", "b2", "c1")
        ]
        await asyncio.sleep(0)
        engine.release()
        await asyncio.gather(first, *others)

    assert engine.added == ["1 a0", "1 a1", "1 b1", "1 c1", "1 a2", "1 b2"]


async def test_a_free_row_goes_to_the_caller_with_the_fewest() -> None:
    engine = ScriptedEngine(is_held=True)
    async with serving(engine, rows=8) as scheduler:
        with ExitStack() as stack:
            of_a = [ask(scheduler, stack, ENDLESS, f"a{number}") for number in range(4)]
            engine.allow(1)
            await until(lambda: engine.steps == 2)
            assert scheduler.load().running == 4
            for name in ("a4", "a5", "b1", "b2", "b3"):
                ask(scheduler, stack, ENDLESS, name)
            engine.allow(1)
            await until(lambda: scheduler.load().running == 6)
            assert engine.added[4:] == [f"{ENDLESS} b1", f"{ENDLESS} b2"]

            of_a[0].__exit__(None, None, None)
            engine.allow(1)
            await until(lambda: len(engine.added) == 7)
            assert engine.added[6:] == [f"{ENDLESS} b3"]


async def test_a_caller_who_cancelled_everything_counts_as_new_again() -> None:
    engine = ScriptedEngine(is_held=True)
    async with serving(engine, rows=2) as scheduler:
        with ExitStack() as stack:
            stopped = ask(scheduler, stack, ENDLESS, "a stopped")
            await until(lambda: engine.steps == 1)
            ask(scheduler, stack, ENDLESS, "b")
            engine.allow(1)
            await until(lambda: engine.steps == 2)
            stopped.__exit__(None, None, None)
            ask(scheduler, stack, 1, "a again")
            engine.allow(1)
            await until(lambda: engine.steps == 3)

            assert engine.frames[2] == [f"{ENDLESS} b", "1 a again"]


class Watch:
    """What callers do between two frames, and how the rows must be shared afterwards.

    Args:
        rows: The most there may be.
    """

    def __init__(self, rows: int) -> None:
        self.engine = ScriptedEngine(is_held=True)
        self._rows = rows
        self._waiting: dict[str, Submitted] = {}
        self._running: dict[str, Submitted] = {}
        self._count = 0
        self._passed_by: dict[str, Counter[str]] = {}

    def ask(self, scheduler: Scheduler, stack: ExitStack, caller: str, chunks: int) -> None:
        self._count += 1
        name = f"{caller}{self._count}"
        self._waiting[f"{chunks} {name}"] = ask(scheduler, stack, chunks, name)

    def cancel(self, choice: int) -> None:
        texts = [*self._waiting, *self._running]
        if texts:
            text = texts[choice % len(texts)]
            submitted = self._waiting.pop(text, None) or self._running.pop(text)
            submitted.__exit__(None, None, None)
            if not self._waiting_of(_caller(text)):
                self._passed_by.pop(_caller(text), None)

    async def next_frame(self) -> None:
        added, steps = len(self.engine.added), self.engine.steps
        self.engine.allow(1)
        await until(lambda: self.engine.steps > steps)
        newly = self.engine.added[added:]
        speaking = self.engine.frames[-1]
        assert len(speaking) <= self._rows
        rows_of = Counter(_caller(text) for text in speaking if text not in newly)
        for text in newly:
            self._check_order(text, rows_of)
        for text in self._waiting:
            assert rows_of[_caller(text)] or len(speaking) == self._rows, "a new caller waits"

    def _check_order(self, text: str, rows_of: Counter[str]) -> None:
        """Check that this sentence was next, given the rows that each caller had before."""
        caller = _caller(text)
        assert text == self._waiting_of(caller)[0], "a caller's sentences are not in order"
        assert rows_of[caller] == min(rows_of[_caller(other)] for other in self._waiting)
        assert not rows_of[caller] or rows_of.total() < self._rows * 3 // 4
        rows_of[caller] += 1
        self._running[text] = self._waiting.pop(text)
        self._passed_by.pop(caller, None)
        for other in {_caller(text) for text in self._waiting} - {caller}:
            passed_by = self._passed_by.setdefault(other, Counter())
            if rows_of[other]:
                passed_by.clear()
            else:
                passed_by[caller] += 1
                assert passed_by[caller] == 1, "a new caller was passed by twice"

    def _waiting_of(self, caller: str) -> list[str]:
        return [text for text in self._waiting if _caller(text) == caller]


def _caller(text: str) -> str:
    return text.split()[1][0]


ASK = st.tuples(st.sampled_from("abcde"), st.sampled_from([1, 2, 3, 8, ENDLESS]))
CANCEL = st.integers(0, 50)


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 9), st.lists(st.lists(ASK | CANCEL, max_size=6), max_size=25))
def test_whatever_callers_do_the_rows_are_shared_fairly(
    rows: int, plan: list[list[tuple[str, int] | int]]
) -> None:
    async def everything() -> None:
        watch = Watch(rows)
        async with serving(watch.engine, rows=rows, waiting=200, waiting_per_caller=200) as at:
            with ExitStack() as stack:
                ask(at, stack, ENDLESS, "z")  # so that there always is a next frame
                await until(lambda: watch.engine.steps == 1)
                for deeds in plan:
                    for deed in deeds:
                        if isinstance(deed, int):
                            watch.cancel(deed)
                        else:
                            watch.ask(at, stack, *deed)
                    await watch.next_frame()

    asyncio.run(everything())
