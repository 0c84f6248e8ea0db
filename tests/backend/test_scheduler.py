"""Many callers share one engine: who is served when, and what they can see."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing

import pytest

from backend.contract import (
    BackendBusyError,
    ConsentMissingError,
    GenerationFailedError,
)
from backend.scheduler import Progress, Scheduler
from tests.backend.scheduling import REFERENCE, serving, spoken, until
from tests.backend.scripted_engine import CRASH_MESSAGE, ScriptedEngine, job


async def test_thirty_two_callers_each_hear_their_own_voice() -> None:
    engine = ScriptedEngine()
    async with serving(engine, rows=8) as scheduler:
        answers = await asyncio.gather(
            *(
                spoken(scheduler, job(1 + voice % 7, voice, f"of {voice}"), caller=str(voice))
                for voice in range(1, 33)
            )
        )

    assert answers == [[voice] * (1 + voice % 7) for voice in range(1, 33)]
    assert len(engine.threads) == 1
    assert [len(batch) for batch in engine.batches] == [8, 8, 8, 8]


async def test_what_comes_together_is_spoken_together_and_short_rows_leave_early() -> None:
    engine = ScriptedEngine(is_held=True)
    async with serving(engine) as scheduler:
        long = asyncio.ensure_future(spoken(scheduler, job(9)))
        short = asyncio.ensure_future(spoken(scheduler, job(2)))
        engine.allow(2)

        assert await short == [100] * 2
        assert not long.done()
        engine.release()
        engine.allow(9)
        assert await long == [100] * 9
    assert engine.batches == [["9", "2"]]


async def test_one_callers_many_sentences_do_not_hold_up_another() -> None:
    engine = ScriptedEngine()
    async with serving(engine, rows=2) as scheduler:
        many = [spoken(scheduler, job(1, name=f"a{n}"), caller="a") for n in range(8)]
        one = spoken(scheduler, job(1, name="b"), caller="b")
        await asyncio.gather(*many, one)

    assert "1 b" in engine.batches[0]


async def test_a_short_sentence_passes_a_long_one() -> None:
    engine = ScriptedEngine(is_held=True)
    async with serving(engine, patience_seconds=0.01, rows=1) as scheduler:
        long = asyncio.ensure_future(spoken(scheduler, job(60), caller="a"))
        engine.allow(1)
        await until(lambda: engine.spoken["60"] == 1)
        short = asyncio.ensure_future(spoken(scheduler, job(3), caller="b"))
        await asyncio.sleep(0.02)
        engine.allow(20)

        assert await short == [100] * 3
        assert 1 < engine.spoken["60"] < 22  # it went on meanwhile
        engine.allow(60)
        assert await long == [100] * 60


async def test_callers_who_speak_for_ever_do_not_keep_out_another() -> None:
    engine = ScriptedEngine(step_seconds=0.001)
    async with serving(engine, patience_seconds=0.01, need_seconds=0.1, rows=1) as scheduler:
        endless = [
            asyncio.ensure_future(spoken(scheduler, job(100_000, name=caller), caller=caller))
            for caller in ("a", "b")
        ]
        await until(lambda: engine.spoken["100000 a"] > 0 and engine.spoken["100000 b"] > 0)
        began = time.monotonic()
        assert await spoken(scheduler, job(3), caller="c") == [100] * 3
        assert time.monotonic() - began < 3
        for task in endless:
            task.cancel()
        await asyncio.gather(*endless, return_exceptions=True)


async def test_who_is_served_already_gets_no_second_batch() -> None:
    engine = ScriptedEngine(is_held=True)
    async with serving(engine, patience_seconds=0, gather_seconds=0, rows=1) as scheduler:
        many = [
            asyncio.ensure_future(spoken(scheduler, job(30, name=name), caller="a"))
            for name in "xyz"
        ]
        await until(lambda: engine.batches == [["30 x"]])
        engine.allow(5)
        await until(lambda: engine.spoken["30 x"] == 5)
        assert engine.batches == [["30 x"]]

        one = asyncio.ensure_future(spoken(scheduler, job(1, name="b"), caller="b"))
        await asyncio.sleep(0.01)
        engine.allow(3)
        assert await one == [100]
        assert engine.batches == [["30 x"], ["1 b"]]
        engine.allow(100)
        await asyncio.gather(*many)


async def test_batches_get_equal_parts_of_the_time() -> None:
    engine = ScriptedEngine(step_seconds=0.001)
    async with serving(engine, patience_seconds=0, gather_seconds=0) as scheduler:
        long = asyncio.ensure_future(spoken(scheduler, job(2_000), caller="a"))
        await until(lambda: engine.spoken["2000"] > 100)
        before = engine.spoken["2000"]
        await spoken(scheduler, job(40), caller="b")

        assert 20 < engine.spoken["2000"] - before < 80
        long.cancel()


async def test_a_full_batch_waits_for_nobody() -> None:
    async with serving(ScriptedEngine(), rows=2, gather_seconds=60) as scheduler:
        both = (spoken(scheduler, job(1, voice), caller="a") for voice in (1, 2))

        assert await asyncio.wait_for(asyncio.gather(*both), 5) == [[1], [2]]


async def test_what_can_wait_a_little_gets_no_batch_of_its_own() -> None:
    engine = ScriptedEngine(is_held=True)
    async with serving(engine, patience_seconds=30) as scheduler:
        first = asyncio.ensure_future(spoken(scheduler, job(4)))
        await until(lambda: engine.batches == [["4"]])
        later = []
        for name in "xyz":
            asked = spoken(scheduler, job(1, name=name), caller=name)
            later.append(asyncio.ensure_future(asked))
            engine.allow(1)
            await asyncio.sleep(0.005)
        engine.allow(2)
        await asyncio.gather(first, *later)

    assert engine.batches == [["4"], ["1 x", "1 y", "1 z"]]


async def test_a_full_queue_refuses_and_a_cancelled_request_makes_room() -> None:
    engine = ScriptedEngine(is_held=True)
    limits = {"rows": 1, "batches": 1, "waiting": 3, "waiting_per_caller": 2}
    async with serving(engine, **limits) as scheduler:
        engine.allow(1)
        await spoken(scheduler, job(1))  # something to estimate from
        under_way = asyncio.ensure_future(spoken(scheduler, job(1)))
        await until(lambda: len(engine.batches) == 2)
        waiting = [
            asyncio.ensure_future(spoken(scheduler, job(1), caller=caller)) for caller in "aab"
        ]
        await asyncio.sleep(0)
        assert scheduler.load().waiting == 3
        with pytest.raises(BackendBusyError) as refusal:
            await spoken(scheduler, job(1), caller="c")
        assert refusal.value.retry_after is not None
        assert refusal.value.retry_after > 0

        waiting.pop().cancel()
        await asyncio.sleep(0)
        with pytest.raises(BackendBusyError):  # its own part is full
            await spoken(scheduler, job(1), caller="a")
        waiting.append(asyncio.ensure_future(spoken(scheduler, job(1), caller="c")))
        engine.allow(4)
        assert await asyncio.gather(under_way, *waiting) == [[100]] * 4


async def test_without_experience_busy_promises_nothing() -> None:
    async with serving(ScriptedEngine(is_held=True), waiting=1) as scheduler:
        waiting = asyncio.ensure_future(spoken(scheduler, job(1)))
        await asyncio.sleep(0)
        with pytest.raises(BackendBusyError) as refusal:
            await spoken(scheduler, job(1), caller="b")
        assert refusal.value.retry_after is None
        waiting.cancel()


async def test_a_cancelled_row_stops_and_its_neighbours_do_not() -> None:
    engine = ScriptedEngine(is_held=True)
    async with serving(engine) as scheduler:
        left = asyncio.ensure_future(spoken(scheduler, job(40, name="left")))
        kept = asyncio.ensure_future(spoken(scheduler, job(20, name="kept")))
        engine.allow(3)
        await until(lambda: engine.spoken["20 kept"] == 3)
        left.cancel()
        await asyncio.sleep(0)
        engine.allow(17)

        assert await kept == [100] * 20
    assert engine.spoken["40 left"] == 3


async def test_who_stopped_may_ask_again_at_once() -> None:
    engine = ScriptedEngine(is_held=True)
    async with serving(engine, patience_seconds=0) as scheduler:
        with scheduler.request(job(50, name="stopped"), caller="a"):
            other = asyncio.ensure_future(spoken(scheduler, job(50, name="other"), caller="b"))
            await until(lambda: engine.batches == [["50 stopped", "50 other"]])
        again = asyncio.ensure_future(spoken(scheduler, job(1, name="again"), caller="a"))
        await asyncio.sleep(0)
        engine.allow(10)

        assert await again == [100]
        assert not other.done()
        other.cancel()


async def test_a_batch_that_everybody_left_ends() -> None:
    engine = ScriptedEngine(is_held=True)
    async with serving(engine, batches=1) as scheduler:
        async with aclosing(scheduler.speak(job(99), caller="a")) as chunks:
            engine.allow(1)
            async for _ in chunks:
                break
        engine.allow(2)

        assert await spoken(scheduler, job(1)) == [100]
    assert engine.spoken["99"] <= 2


async def test_progress_shows_the_queue_and_the_speech() -> None:
    engine = ScriptedEngine(is_held=True)
    async with serving(engine, rows=1, batches=1) as scheduler:
        with (
            scheduler.request(job(3), caller="a") as first,
            scheduler.request(job(1), caller="a") as second,
            scheduler.request(job(1), caller="a") as third,
            scheduler.request(job(1), caller="b") as other,
        ):
            await until(lambda: len(engine.batches) == 1)
            assert [ticket.progress.ahead for ticket in (other, second, third)] == [0, 1, 2]
            assert not second.progress.has_begun
            load = scheduler.load()
            assert (load.waiting, load.begun, load.batches) == (3, 1, 1)
            engine.allow(2)
            await anext(first)
            await anext(first)
            assert first.progress == Progress(ahead=0, has_begun=True, seconds_spoken=0.02)


async def test_voice_prompts_are_made_while_others_speak() -> None:
    engine = ScriptedEngine(is_held=True)
    engine.errors["refused"] = ConsentMissingError("a voice needs consent")
    engine.crash_at["broken"] = RuntimeError(CRASH_MESSAGE)
    async with serving(engine) as scheduler:
        speech = asyncio.ensure_future(spoken(scheduler, job(50)))
        await until(lambda: len(engine.batches) == 1)
        prompts = asyncio.gather(
            *(
                scheduler.prompt(REFERENCE, transcript, None, caller="a")
                for transcript in ("hello", "refused", "broken")
            ),
            return_exceptions=True,
        )
        engine.allow(20)
        made, refused, broken = await prompts

        assert made == b"72000"
        assert isinstance(refused, ConsentMissingError)
        assert isinstance(broken, GenerationFailedError)
        assert not speech.done()
        engine.allow(50)
        assert await speech == [100] * 50


async def test_the_event_loop_never_waits_for_the_model() -> None:
    engine = ScriptedEngine(is_held=True)
    async with serving(engine) as scheduler:
        speech = asyncio.ensure_future(spoken(scheduler, job(1)))
        await until(lambda: len(engine.batches) == 1)
        began = time.monotonic()
        for _ in range(10):  # every entrance, while the model is in a step
            with scheduler.request(job(1), caller="b") as ticket:
                assert ticket.progress.ahead == 0
                assert scheduler.load().waiting == 1
                await asyncio.sleep(0)
        assert time.monotonic() - began < 0.1
        engine.release()
        assert await speech == [100]


def test_callers_on_other_event_loops_are_served_and_a_closed_one_is_forgotten() -> None:
    engine = ScriptedEngine()

    async def elsewhere(scheduler: Scheduler, voice: int) -> list[int]:
        return await spoken(scheduler, job(3, voice), caller=str(voice))

    async def leave_without_a_word(scheduler: Scheduler) -> None:
        scheduler.request(job(3, 9), caller="gone").__enter__()

    async def here() -> list[list[int]]:
        async with serving(engine) as scheduler:
            await asyncio.to_thread(asyncio.run, leave_without_a_word(scheduler))
            return await asyncio.gather(
                spoken(scheduler, job(3, 1)),
                *(asyncio.to_thread(asyncio.run, elsewhere(scheduler, voice)) for voice in (2, 3)),
            )

    assert asyncio.run(here()) == [[1] * 3, [2] * 3, [3] * 3]
