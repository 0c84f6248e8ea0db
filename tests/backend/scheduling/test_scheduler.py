"""Many callers share one engine, and each of them gets its own speech."""

from __future__ import annotations

import asyncio
import threading
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from backend.contract import (
    BackendBusyError,
    ConsentMissingError,
    GenerationFailedError,
    VoicePrompt,
)
from tests.backend.scheduling.serving import REFERENCE, serving, speaking, spoken, until
from tests.backend.scripted_engine import CRASH_MESSAGE, MODEL_ID, ScriptedEngine, request

if TYPE_CHECKING:
    from backend.contract import SpeechRequest
    from backend.engine.interface import SpeechChunk
    from backend.scheduling.scheduler import Scheduler


async def test_thirty_two_callers_each_hear_their_own_voice() -> None:
    engine = ScriptedEngine()
    async with serving(engine, rows=8) as scheduler:
        answers = await asyncio.gather(
            *(
                spoken(scheduler, request(1 + voice % 7, voice, f"of {voice}"), caller=str(voice))
                for voice in range(1, 33)
            )
        )

    assert answers == [[voice] * (1 + voice % 7) for voice in range(1, 33)]
    assert max(map(len, engine.frames)) == 8


async def test_a_request_is_added_to_the_batch_at_the_next_frame() -> None:
    engine = ScriptedEngine(is_held=True)
    async with serving(engine) as scheduler:
        long = await speaking(scheduler, request(60))
        await until(lambda: engine.steps == 1)
        engine.allow(9)
        await until(lambda: engine.steps == 10)
        short = await speaking(scheduler, request(2))
        await asyncio.sleep(0)
        engine.allow(3)

        assert await short == [100] * 2
        await until(lambda: engine.steps == 13)
        assert engine.frames[9:] == [["60"], ["60", "2"], ["60", "2"], ["60"]]
        assert not long.done()
        engine.release()
        assert await long == [100] * 60


async def test_a_chunk_is_delivered_before_the_rest_of_its_frame_is_made() -> None:
    is_heard = threading.Event()

    class Halting(ScriptedEngine):
        def chunk(self, number: int, request: SpeechRequest, *, is_last: bool) -> SpeechChunk:
            if request.text == "2 second":
                assert is_heard.wait(5)
            return super().chunk(number, request, is_last=is_last)

    engine = Halting(is_held=True)
    async with serving(engine) as scheduler:
        first = await speaking(scheduler, request(2, name="first"))
        await until(lambda: engine.steps == 1)
        second = await speaking(scheduler, request(2, name="second"))
        await asyncio.sleep(0)
        engine.release()

        assert await first == [100] * 2
        assert engine.frames == [["2 first"], ["2 first", "2 second"]]
        is_heard.set()
        assert await second == [100] * 2


async def test_a_cancelled_request_costs_nothing_more_and_takes_nothing_from_the_others() -> None:
    engine = ScriptedEngine(is_held=True)
    async with serving(engine) as scheduler:
        left = await speaking(scheduler, request(40, name="left"))
        kept = await speaking(scheduler, request(20, name="kept"))
        await until(lambda: engine.steps == 1)
        engine.allow(3)
        await until(lambda: engine.steps == 4)
        left.cancel()
        await asyncio.sleep(0)
        engine.release()

        assert await kept == [100] * 20
    assert engine.spoken["40 left"] == 4  # the frame under way was the last


async def test_the_row_of_a_cancelled_request_is_free_at_the_next_frame() -> None:
    engine = ScriptedEngine(is_held=True)
    async with serving(engine, rows=1) as scheduler:
        left = await speaking(scheduler, request(99))
        await until(lambda: engine.steps == 1)
        next_one = await speaking(scheduler, request(1, name="next"))
        left.cancel()
        await asyncio.sleep(0)
        engine.allow(2)

        assert await next_one == [100]
    assert engine.frames[:2] == [["99"], ["1 next"]]


async def test_a_full_queue_refuses_and_a_cancelled_request_makes_room() -> None:
    engine = ScriptedEngine(is_held=True)
    async with serving(engine, rows=1, waiting=3, waiting_per_caller=2) as scheduler:
        engine.allow(1)
        await spoken(scheduler, request(1))  # something to estimate from
        under_way = await speaking(scheduler, request(1))
        await until(lambda: engine.steps == 2)
        waiting = [await speaking(scheduler, request(1), caller=caller) for caller in "aab"]
        await asyncio.sleep(0)
        assert scheduler.load().waiting == 3
        with pytest.raises(BackendBusyError) as refusal:
            await spoken(scheduler, request(1), caller="c")
        assert refusal.value.retry_after is not None
        assert refusal.value.retry_after > 0

        waiting.pop().cancel()
        await asyncio.sleep(0)
        with pytest.raises(BackendBusyError):  # its own part is full
            await spoken(scheduler, request(1), caller="a")
        waiting.append(await speaking(scheduler, request(1), caller="c"))
        engine.allow(4)
        assert await asyncio.gather(under_way, *waiting) == [[100]] * 4


async def test_before_any_request_was_done_busy_gives_no_time() -> None:
    engine = ScriptedEngine(is_held=True)
    async with serving(engine, rows=1, waiting=1) as scheduler:
        under_way = await speaking(scheduler, request(1))
        await until(lambda: engine.steps == 1)
        waiting = await speaking(scheduler, request(1))
        await asyncio.sleep(0)
        with pytest.raises(BackendBusyError) as refusal:
            await spoken(scheduler, request(1), caller="b")
        assert refusal.value.retry_after is None
        under_way.cancel()
        waiting.cancel()


async def test_requests_of_one_batch_share_the_cost() -> None:
    engine = ScriptedEngine(step_seconds=0.002)
    async with serving(engine, rows=16) as scheduler:
        await asyncio.gather(
            *(
                spoken(scheduler, request(chunks, name=caller), caller=caller)
                for caller, chunks in zip("abcdefgh", range(2, 34, 4), strict=True)
            )
        )
        took = sum(seconds for _, seconds in engine.seconds)
        pace = scheduler.load().seconds_per_request

        assert pace == pytest.approx(took / 8, rel=0.5)


async def test_the_load_counts_what_waits_and_what_runs() -> None:
    engine = ScriptedEngine(is_held=True)
    async with serving(engine, rows=1) as scheduler:
        with scheduler.submit(request(3)):
            await until(lambda: engine.steps == 1)
            with (
                scheduler.submit(request(1)),
                scheduler.submit(request(1)),
                scheduler.submit(request(1, caller="b")),
            ):
                assert (scheduler.load().waiting, scheduler.load().running) == (3, 1)
            assert (scheduler.load().waiting, scheduler.load().running) == (0, 1)


async def test_voice_prompts_are_made_while_others_speak() -> None:
    engine = ScriptedEngine(is_held=True)
    engine.errors["refused"] = ConsentMissingError("a voice needs consent")
    engine.crash_at["broken"] = RuntimeError(CRASH_MESSAGE)
    async with serving(engine) as scheduler:
        speech = await speaking(scheduler, request(5_000))
        await until(lambda: engine.steps == 1)
        prompts = asyncio.gather(
            *(
                scheduler.make_prompt(REFERENCE, transcript, None, caller="a")
                for transcript in ("hello", "refused", "broken")
            ),
            return_exceptions=True,
        )
        while not prompts.done():  # between two of them, frames get as much time as one took
            engine.allow(1)
            await asyncio.sleep(0.001)
        made, refused, broken = await prompts

        assert made == VoicePrompt(b"72000", MODEL_ID)
        assert isinstance(refused, ConsentMissingError)
        assert isinstance(broken, GenerationFailedError)
        assert not speech.done()
        engine.release()
        assert await speech == [100] * 5_000


async def test_however_many_voice_prompts_wait_speech_has_half_of_the_time() -> None:
    engine = ScriptedEngine(step_seconds=0.002, prompt_seconds=0.02)
    async with serving(engine) as scheduler:
        speech = await speaking(scheduler, request(10_000))
        await until(lambda: engine.spoken["10000"] > 0)
        await asyncio.gather(
            *(scheduler.make_prompt(REFERENCE, None, None, caller=caller) for caller in "abcd")
        )
        speech.cancel()

    prompts = [place for place, (kind, _) in enumerate(engine.seconds) if kind == "prompt"]
    assert len(prompts) == 4
    for first, second in pairwise(prompts):
        prompt, *frames = [seconds for _, seconds in engine.seconds[first:second]]
        assert sum(frames) > prompt / 2
        assert sum(frames[:-1]) < prompt * 2, "the next prompt waited for nothing"


async def test_when_nobody_speaks_voice_prompts_wait_for_nothing() -> None:
    engine = ScriptedEngine(prompt_seconds=0.001)
    async with serving(engine) as scheduler, asyncio.timeout(30):
        await asyncio.gather(
            *(scheduler.make_prompt(REFERENCE, None, None, caller=caller) for caller in "abcd")
        )
        assert await spoken(scheduler, request(1)) == [100]


async def test_the_event_loop_never_waits_for_the_model() -> None:
    engine = ScriptedEngine(is_held=True)
    async with serving(engine, rows=1) as scheduler:
        speech = await speaking(scheduler, request(1))
        await until(lambda: engine.steps == 1)
        # The model is in a step that ends only below, so whatever waited for it would not return.
        for _ in range(10):
            with scheduler.submit(request(1, caller="b")):
                assert scheduler.load().waiting == 1
                await asyncio.sleep(0)
        engine.release()
        assert await speech == [100]


def test_callers_on_other_event_loops_are_served_and_a_closed_one_is_forgotten() -> None:
    engine = ScriptedEngine()

    async def elsewhere(scheduler: Scheduler, voice: int) -> list[int]:
        return await spoken(scheduler, request(3, voice), caller=str(voice))

    never_exited = []

    async def vanish(scheduler: Scheduler) -> None:
        never_exited.append(scheduler.submit(request(3, 9, caller="gone")))
        never_exited[0].__enter__()

    async def here() -> list[list[int]]:
        async with serving(engine) as scheduler:
            await asyncio.to_thread(asyncio.run, vanish(scheduler))
            return await asyncio.gather(
                spoken(scheduler, request(3, 1)),
                *(asyncio.to_thread(asyncio.run, elsewhere(scheduler, voice)) for voice in (2, 3)),
            )

    assert asyncio.run(here()) == [[1] * 3, [2] * 3, [3] * 3]
