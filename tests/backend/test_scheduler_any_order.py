"""Whatever callers do in whatever order, each request ends once."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from backend.contract import (
    SpeechError,
    TextNotSpeakableError,
)
from tests.backend.scheduling import serving, spoken, until
from tests.backend.scripted_engine import CRASH_MESSAGE, ScriptedEngine, job

if TYPE_CHECKING:
    from backend.scheduler import Scheduler


@st.composite
def plans(draw: st.DrawFn) -> list[dict[str, Any]]:
    """What some callers do: ask at some moment, and perhaps leave at another."""
    step = st.fixed_dictionaries(
        {
            "caller": st.sampled_from("abc"),
            "chunks": st.integers(1, 6),
            "accident": st.sampled_from(["", "", "", "", "crash", "error"]),
            "asks_after": st.integers(0, 12),
            "leaves_after": st.none() | st.integers(0, 12),
            "deadline": st.none() | st.just(0.0) | st.just(60.0),
        }
    )
    return draw(st.lists(step, min_size=1, max_size=14))


async def follow(scheduler: Scheduler, voice: int, plan: dict[str, Any]) -> str:
    """Do as planned; return how it ended."""
    for _ in range(plan["asks_after"]):
        await asyncio.sleep(0)
    asked = job(plan["chunks"], voice, f"{voice} {plan['accident']}")
    speaking = asyncio.ensure_future(
        spoken(scheduler, asked, caller=plan["caller"], deadline=plan["deadline"])
    )
    if plan["leaves_after"] is not None:
        for _ in range(plan["leaves_after"]):
            await asyncio.sleep(0)
        speaking.cancel()
    try:
        levels = await speaking
    except asyncio.CancelledError:
        return "left"
    except SpeechError as error:
        return type(error).__name__
    assert levels == [voice] * plan["chunks"]
    return "spoken"


@settings(deadline=None, max_examples=60)
@given(
    plans(),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(1, 5),
    st.sampled_from([0.0, 0.0005]),
)
def test_whatever_happens_every_request_ends_once_and_properly(
    planned: list[dict[str, Any]], rows: int, batches: int, waiting: int, patience: float
) -> None:
    engine = ScriptedEngine()
    for voice, plan in enumerate(planned, start=1):
        text = job(plan["chunks"], voice, f"{voice} {plan['accident']}").text
        if plan["accident"] == "crash":
            engine.crash_at[text] = RuntimeError(CRASH_MESSAGE)
        elif plan["accident"] == "error":
            engine.errors[text] = TextNotSpeakableError("nothing to say")

    async def everything() -> list[str]:
        limits = {
            "rows": rows,
            "batches": batches,
            "waiting": waiting,
            "waiting_per_caller": 3,
            "patience_seconds": patience,
            "gather_seconds": 0.0,
        }
        async with serving(engine, **limits) as scheduler:
            async with asyncio.timeout(20):
                endings = await asyncio.gather(
                    *(follow(scheduler, voice, plan) for voice, plan in enumerate(planned, 1))
                )
                await until(lambda: scheduler.load().batches == 0)
            load = scheduler.load()
            assert (load.waiting, load.begun) == (0, 0)
            return endings

    logging.getLogger("backend.scheduler_worker").disabled = True
    try:
        endings = asyncio.run(everything())
    finally:
        logging.getLogger("backend.scheduler_worker").disabled = False
    assert all(len(batch) <= rows for batch in engine.batches)
    has_crash = any(plan["accident"] == "crash" for plan in planned)
    for plan, ending in zip(planned, endings, strict=True):
        possible = {"BackendBusyError"}  # the queue is small, and a deadline of nothing may pass
        possible |= {"left"} if plan["leaves_after"] is not None else set()
        possible |= {"GenerationFailedError"} if has_crash or plan["deadline"] == 0 else set()
        possible |= {"TextNotSpeakableError"} if plan["accident"] == "error" else set()
        possible |= {"spoken"} if not plan["accident"] else set()
        assert ending in possible
