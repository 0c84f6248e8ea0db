"""A request that fails, ends or is late costs the other requests nothing."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from backend.contract import (
    BackendBusyError,
    BackendUnavailableError,
    GenerationFailedError,
    TextNotSpeakableError,
)
from backend.scheduling.scheduler import Scheduler, SchedulerLimits
from tests.backend.scheduling.serving import REFERENCE, serving, speaking, spoken, until
from tests.backend.scripted_engine import CHUNK_SAMPLES, CRASH_MESSAGE, ScriptedEngine, request

LOST = RuntimeError("CUDA error: device-side assert triggered")
FAILED = GenerationFailedError("the model failed")


@pytest.mark.parametrize(
    ("crash", "told"),
    [
        (RuntimeError(CRASH_MESSAGE), FAILED),
        (KeyError(CRASH_MESSAGE), FAILED),
        (MemoryError(CRASH_MESSAGE), BackendBusyError(None)),
    ],
)
async def test_a_crash_costs_what_is_being_spoken_and_no_more(
    crash: Exception, told: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    engine = ScriptedEngine(is_held=True)
    engine.crash_at["3 boom"] = crash
    async with serving(engine, rows=2) as scheduler:
        fine = await speaking(scheduler, request(9, name="fine"), caller="a")
        await until(lambda: engine.steps == 1)
        boom = await speaking(scheduler, request(3, name="boom"), caller="b")
        later = await speaking(scheduler, request(3, name="later"), caller="c")
        await asyncio.sleep(0)
        engine.release()
        answers = await asyncio.gather(fine, boom, later, return_exceptions=True)

        assert [type(answer) for answer in answers[:2]] == [type(told)] * 2
        assert answers[0] is not answers[1]
        assert answers[2] == [100] * 3
    assert "scripted_engine.py" in caplog.text
    assert CRASH_MESSAGE not in caplog.text


async def test_whoever_found_no_memory_may_try_again_when_the_others_are_done() -> None:
    engine = ScriptedEngine(step_seconds=0.01)
    async with serving(engine) as scheduler:
        await spoken(scheduler, request(3))
        engine.crash_at["3 boom"] = MemoryError(CRASH_MESSAGE)
        with pytest.raises(BackendBusyError) as busy:
            await spoken(scheduler, request(3, name="boom"))
        assert busy.value.retry_after is not None
        del engine.crash_at["3 boom"]
        assert await spoken(scheduler, request(3, name="boom")) == [100] * 3


@pytest.mark.parametrize("where", ["step", "add", "open", "prompt"])
async def test_with_a_lost_gpu_all_requests_end_at_once_and_nothing_more_is_tried(
    where: str, caplog: pytest.LogCaptureFixture
) -> None:
    engine = ScriptedEngine(is_held=True)
    async with serving(engine, rows=2) as scheduler:
        if where != "open":
            first = await speaking(scheduler, request(9, name="first"), caller="a")
            await until(lambda: engine.steps == 1)
        engine.crash_at["1 boom"] = engine.crash_at["boom"] = LOST
        if where == "add":
            engine.crash_at_add["1 boom"] = LOST
        if where == "open":
            engine.crash_at_open = LOST
            first = await speaking(scheduler, request(9, name="first"), caller="a")
        boom = (
            asyncio.ensure_future(scheduler.make_prompt(REFERENCE, "boom", None, caller="b"))
            if where == "prompt"
            else await speaking(scheduler, request(1, name="boom"), caller="b")
        )
        later = await speaking(scheduler, request(3, name="later"), caller="c")
        await asyncio.sleep(0)
        engine.release()
        for task in (first, boom, later):
            with pytest.raises(BackendUnavailableError, match="another process takes over"):
                await asyncio.wait_for(task, 30)
        assert scheduler.is_beyond_repair
        steps = engine.steps
        with pytest.raises(BackendUnavailableError, match="another process takes over"):
            await spoken(scheduler, request(1))
        with pytest.raises(BackendUnavailableError, match="another process takes over"):
            scheduler.check_room()
        assert engine.steps == steps
    assert "RuntimeError" in caplog.text


async def test_crashes_are_counted_until_something_goes_well() -> None:
    engine = ScriptedEngine()
    engine.crash_at["1 in a frame"] = RuntimeError(CRASH_MESSAGE)
    engine.crash_at_add["1 at adding"] = RuntimeError(CRASH_MESSAGE)
    async with serving(engine) as scheduler:
        for count, name in enumerate(("in a frame", "at adding", "in a frame"), start=1):
            with pytest.raises(GenerationFailedError):
                await spoken(scheduler, request(1, name=name))
            assert scheduler.crashes_in_a_row == count
            assert scheduler.is_beyond_repair == (count == 3)
        assert await spoken(scheduler, request(1)) == [100]
        assert scheduler.crashes_in_a_row == 0
        assert not scheduler.is_beyond_repair


async def test_while_no_loop_can_be_opened_requests_fail() -> None:
    engine = ScriptedEngine()
    engine.crash_at_open = ValueError(CRASH_MESSAGE)
    async with serving(engine) as scheduler:
        for count in (1, 2):
            with pytest.raises(GenerationFailedError, match="the model failed"):
                await spoken(scheduler, request(1))
            assert scheduler.crashes_in_a_row == count
        engine.crash_at_open = None

        assert await spoken(scheduler, request(1)) == [100]


@pytest.mark.parametrize("is_crash", [True, False])
async def test_a_request_that_cannot_be_added_takes_nothing_from_running_ones(
    *, is_crash: bool
) -> None:
    engine = ScriptedEngine(is_held=True)
    if is_crash:
        engine.crash_at_add["1 mute"] = RuntimeError(CRASH_MESSAGE)
    else:
        engine.errors_at_add["1 mute"] = TextNotSpeakableError("nothing to say")
    async with serving(engine) as scheduler:
        fine = await speaking(scheduler, request(9))
        await until(lambda: engine.steps == 1)
        mute = await speaking(scheduler, request(1, name="mute"))
        await asyncio.sleep(0)
        engine.release()

        with pytest.raises(GenerationFailedError if is_crash else TextNotSpeakableError):
            await mute
        assert await fine == [100] * 9


async def test_a_row_that_fails_takes_no_other_with_it() -> None:
    engine = ScriptedEngine()
    engine.errors["3 mute"] = TextNotSpeakableError("nothing to say")
    async with serving(engine) as scheduler:
        mute, fine = await asyncio.gather(
            spoken(scheduler, request(3, name="mute")),
            spoken(scheduler, request(3, name="fine")),
            return_exceptions=True,
        )

    assert isinstance(mute, TextNotSpeakableError)
    assert fine == [100] * 3


async def test_speech_that_begins_anew_says_so() -> None:
    engine = ScriptedEngine()
    engine.restarts.add("3 again")
    async with serving(engine) as scheduler:
        with scheduler.submit(request(3, name="again")) as speech:
            chunks = [chunk async for chunk in speech]

        assert [chunk.restarts for chunk in chunks] == [False, True, False]
        assert [chunk.first_sample for chunk in chunks] == [0, 0, CHUNK_SAMPLES]


async def test_a_request_that_still_waits_at_its_deadline_is_busy() -> None:
    engine = ScriptedEngine(is_held=True)
    async with serving(engine, rows=1) as scheduler:
        under_way = await speaking(scheduler, request(1))
        await until(lambda: engine.steps == 1)

        with pytest.raises(BackendBusyError):
            await spoken(scheduler, request(1, name="late"), deadline=0.01)
        assert scheduler.load().waiting == 0
        engine.release()
        assert await under_way == [100]
    assert engine.added == ["1"]


async def test_a_deadline_holds_though_nobody_reads_the_results() -> None:
    engine = ScriptedEngine(is_held=True)
    async with serving(engine, rows=1) as scheduler:
        under_way = await speaking(scheduler, request(1))
        await until(lambda: engine.steps == 1)
        with scheduler.submit(request(1), deadline=0.01) as speech:
            await until(lambda: scheduler.load().waiting == 0)
            with pytest.raises(BackendBusyError):
                await anext(speech)
        under_way.cancel()


async def test_speech_that_takes_too_long_is_ended() -> None:
    engine = ScriptedEngine(is_held=True)
    async with serving(engine) as scheduler:
        engine.allow(2)
        with pytest.raises(GenerationFailedError):
            await spoken(scheduler, request(90), deadline=0.2)
        engine.allow(3)

        assert await spoken(scheduler, request(1), deadline=60) == [100]
    assert engine.spoken["90"] <= 3


async def test_closing_fails_what_waits_and_what_runs() -> None:
    before = set(threading.enumerate())
    engine = ScriptedEngine(is_held=True)
    scheduler = Scheduler(engine, SchedulerLimits(rows=1))
    own = {thread for thread in threading.enumerate() if thread.name == "engine"} - before
    assert own
    running = await speaking(scheduler, request(5))
    await until(lambda: engine.steps == 1)
    waiting = await speaking(scheduler, request(5))
    prompt = asyncio.ensure_future(scheduler.make_prompt(REFERENCE, None, None, caller="a"))
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(scheduler.close())

    for task in (running, waiting, prompt):  # although the model is still in its step
        with pytest.raises(BackendUnavailableError):
            await asyncio.wait_for(task, 30)
    engine.release()
    await closing
    with pytest.raises(BackendUnavailableError):
        await spoken(scheduler, request(1))
    assert own.isdisjoint(threading.enumerate())


def computed_by(thread: threading.Thread) -> float:
    """Return for how many seconds a thread has used a processor."""
    assert thread.ident is not None
    return time.clock_gettime(time.pthread_getcpuclockid(thread.ident))


async def test_an_idle_scheduler_closes_and_sleeps() -> None:
    before = set(threading.enumerate())
    async with serving(ScriptedEngine()) as scheduler:
        await spoken(scheduler, request(1))
        own = set(threading.enumerate()) - before
        [worker] = [each for each in own if each.name == "engine"]
        computed = computed_by(worker)
        await asyncio.sleep(0.2)

        assert computed_by(worker) - computed < 0.02


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_whatever_ends_the_thread_no_request_is_left_waiting() -> None:
    engine = ScriptedEngine()
    engine.crash_at["1 end"] = SystemExit()
    async with serving(engine, rows=1) as scheduler:
        answers = await asyncio.gather(
            *(spoken(scheduler, request(1, name=name)) for name in ("end", "next")),
            return_exceptions=True,
        )
        with pytest.raises(BackendUnavailableError):
            await spoken(scheduler, request(1))

    assert [type(answer) for answer in answers] == [BackendUnavailableError] * 2
