"""Requests are read in another thread: no frame of others waits for that."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from backend.contract import BackendBusyError, BackendUnavailableError, TextNotSpeakableError
from tests.backend.scheduling.serving import REFERENCE, serving, spoken, until
from tests.backend.scripted_engine import ScriptedEngine, request

if TYPE_CHECKING:
    from asyncio import Future

    from backend.scheduling.scheduler import Scheduler


@pytest.fixture
def engine() -> ScriptedEngine:
    """One that takes long to read "3 slow"."""
    engine = ScriptedEngine(step_seconds=0.002)
    engine.reading["3 slow"] = threading.Event()
    return engine


async def fluent_and_slow(
    scheduler: Scheduler, engine: ScriptedEngine, *, chunks: int
) -> tuple[Future[list[int]], Future[list[int]]]:
    """Have a request spoken, and ask for another one, which takes long to read."""
    fluent = asyncio.ensure_future(spoken(scheduler, request(chunks, name="fluent")))
    await until(lambda: engine.steps > 0)
    slow = asyncio.ensure_future(spoken(scheduler, request(3, name="slow"), caller="b"))
    return fluent, slow


async def test_a_request_that_takes_long_to_read_holds_up_no_frame(engine: ScriptedEngine) -> None:
    async with serving(engine) as scheduler, asyncio.timeout(10):
        fluent, slow = await fluent_and_slow(scheduler, engine, chunks=40)
        assert await fluent == [100] * 40
        assert "3 slow" not in engine.added
        engine.reading["3 slow"].set()
        assert await slow == [100] * 3


async def test_a_request_that_is_read_meanwhile_joins_those_that_speak(
    engine: ScriptedEngine,
) -> None:
    async with serving(engine) as scheduler, asyncio.timeout(10):
        fluent, slow = await fluent_and_slow(scheduler, engine, chunks=400)
        await until(lambda: scheduler.load().running == 2)
        engine.reading["3 slow"].set()
        assert await slow == [100] * 3
        assert not fluent.done()
        assert ["400 fluent", "3 slow"] in engine.frames


async def test_a_request_that_is_cancelled_while_it_is_read_gives_its_row_back(
    engine: ScriptedEngine,
) -> None:
    async with serving(engine, rows=2) as scheduler, asyncio.timeout(10):
        fluent, slow = await fluent_and_slow(scheduler, engine, chunks=400)
        await until(lambda: scheduler.load().running == 2)
        slow.cancel()
        await until(lambda: scheduler.load().running == 1)
        assert not fluent.done()
        engine.reading["3 slow"].set()
        assert await spoken(scheduler, request(3, name="next"), caller="c") == [100] * 3
    assert "3 slow" not in engine.added


async def test_a_request_that_is_cancelled_before_it_is_read_is_no_crash(
    engine: ScriptedEngine,
) -> None:
    async with serving(engine, rows=1) as scheduler, asyncio.timeout(10):
        fluent, slow = await fluent_and_slow(scheduler, engine, chunks=40)
        behind = asyncio.ensure_future(spoken(scheduler, request(3, name="behind"), caller="b"))
        await until(lambda: scheduler.load().waiting == 2)
        slow.cancel()
        await fluent
        await until(lambda: scheduler.load().running == 1)  # its turn, but it is not read yet
        behind.cancel()
        engine.reading["3 slow"].set()
        await until(lambda: scheduler.load().running == 0)
        assert scheduler.crashes_in_a_row == 0


async def test_a_request_that_is_read_speaks_while_one_that_came_with_it_is_still_read() -> None:
    engine = ScriptedEngine(is_held=True)
    engine.reading["3 slow"] = threading.Event()
    async with serving(engine, rows=2) as scheduler, asyncio.timeout(10):
        prompt = asyncio.ensure_future(scheduler.make_prompt(REFERENCE, None, None, caller="c"))
        await until(lambda: engine.steps == 1)
        first = asyncio.ensure_future(spoken(scheduler, request(3, name="first")))
        slow = asyncio.ensure_future(spoken(scheduler, request(3, name="slow"), caller="b"))
        await until(lambda: scheduler.load().waiting == 2)
        engine.release()  # both get their rows at once
        await prompt
        assert await first == [100] * 3
        engine.reading["3 slow"].set()
        assert await slow == [100] * 3


async def test_a_request_that_turns_out_wrong_when_it_is_read_fails_alone(
    engine: ScriptedEngine,
) -> None:
    engine.errors_at_reading["3 mute"] = TextNotSpeakableError("nothing to say")
    async with serving(engine) as scheduler:
        mute, fluent = await asyncio.gather(
            spoken(scheduler, request(3, name="mute")),
            spoken(scheduler, request(3, name="fluent")),
            return_exceptions=True,
        )
        assert isinstance(mute, TextNotSpeakableError)
        assert fluent == [100] * 3
        assert scheduler.crashes_in_a_row == 0


async def test_closing_ends_a_request_that_is_being_read(engine: ScriptedEngine) -> None:
    async with serving(engine) as scheduler:
        fluent, slow = await fluent_and_slow(scheduler, engine, chunks=400)
        await until(lambda: scheduler.load().running == 2)
        async with asyncio.timeout(10):
            await scheduler.close()
            for each in (fluent, slow):
                with pytest.raises(BackendUnavailableError):
                    await each
        engine.reading["3 slow"].set()


async def test_a_request_that_is_refused_is_not_read(engine: ScriptedEngine) -> None:
    engine.reading["9 refused"] = threading.Event()
    async with serving(engine, rows=1, waiting=1) as scheduler, asyncio.timeout(10):
        fluent = asyncio.ensure_future(spoken(scheduler, request(40, name="fluent")))
        await until(lambda: engine.steps > 0)
        waiting = asyncio.ensure_future(spoken(scheduler, request(1, name="waiting")))
        await until(lambda: scheduler.load().waiting == 1)
        with pytest.raises(BackendBusyError):
            await spoken(scheduler, request(9, name="refused"))
        assert await fluent == [100] * 40
        assert await waiting == [100]
        assert await spoken(scheduler, request(1, name="after it")) == [100]
