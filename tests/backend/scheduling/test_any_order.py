"""Whatever callers do in whatever order, each request ends once."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.contract import SpeechError, TextNotSpeakableError
from tests.backend.scheduling.serving import serving, until
from tests.backend.scripted_engine import (
    CHUNK_SAMPLES,
    CRASH_MESSAGE,
    ScriptedEngine,
    heard,
    request,
)

if TYPE_CHECKING:
    from backend.contract import PcmChunk, SpeechRequest
    from backend.scheduling.scheduler import Scheduler


@st.composite
def plans(draw: st.DrawFn) -> list[dict[str, Any]]:
    """What some callers do: submit a request at some moment, and perhaps cancel it at another."""
    step = st.fixed_dictionaries(
        {
            "caller": st.sampled_from("abc"),
            "chunks": st.integers(1, 6),
            "accident": st.sampled_from(["", "", "", "", "crash", "crash at add", "error"]),
            "submits_after": st.integers(0, 12),
            "cancels_after": st.none() | st.integers(0, 12),
            "deadline": st.none() | st.just(0.0) | st.just(60.0),
        }
    )
    return draw(st.lists(step, min_size=1, max_size=14))


class Callers:
    """Callers who do as planned.

    Args:
        planned: What each does; its place in the list is its voice, from 1 on.

    Attributes:
        engine: Has the accidents that are planned.
        asked: What each caller asked for, in order.
    """

    def __init__(self, planned: list[dict[str, Any]]) -> None:
        self.engine = ScriptedEngine()
        self.asked: dict[str, list[str]] = {}
        self._plans = dict(enumerate(planned, start=1))
        for voice, plan in self._plans.items():
            text = self._request(voice).text
            if plan["accident"] == "crash":
                self.engine.crash_at[text] = RuntimeError(CRASH_MESSAGE)
            elif plan["accident"] == "crash at add":
                self.engine.crash_at_add[text] = MemoryError(CRASH_MESSAGE)
            elif plan["accident"] == "error":
                self.engine.errors[text] = TextNotSpeakableError("nothing to say")

    async def ask(self, scheduler: Scheduler) -> list[str]:
        """Do all that is planned; return how each request ended."""
        return await asyncio.gather(*(self._follow(scheduler, voice) for voice in self._plans))

    async def _follow(self, scheduler: Scheduler, voice: int) -> str:
        plan = self._plans[voice]
        for _ in range(plan["submits_after"]):
            await asyncio.sleep(0)
        listening = asyncio.ensure_future(self._listen(scheduler, voice))
        if plan["cancels_after"] is not None:
            for _ in range(plan["cancels_after"]):
                await asyncio.sleep(0)
            listening.cancel()
        try:
            chunks = await listening
        except asyncio.CancelledError:
            return "cancelled"
        except SpeechError as error:
            return type(error).__name__
        assert heard(chunks) == [voice] * plan["chunks"]
        assert [chunk.first_sample for chunk in chunks] == [
            number * CHUNK_SAMPLES for number in range(plan["chunks"])
        ]
        return "spoken"

    async def _listen(self, scheduler: Scheduler, voice: int) -> list[PcmChunk]:
        plan = self._plans[voice]
        asked = self._request(voice)
        with scheduler.submit(asked, deadline=plan["deadline"]) as speech:
            self.asked.setdefault(plan["caller"], []).append(asked.text)
            chunks = [chunk async for chunk in speech]
            with pytest.raises(TimeoutError):  # nothing comes after the end
                await asyncio.wait_for(anext(speech), 0)
            return chunks

    def _request(self, voice: int) -> SpeechRequest:
        plan = self._plans[voice]
        name = f"{voice} {plan['accident']}"
        return request(plan["chunks"], voice, name, caller=plan["caller"])


@pytest.mark.slow
@settings(deadline=None, max_examples=80)
@given(plans(), st.integers(1, 4), st.integers(1, 5))
def test_whatever_happens_every_request_ends_once_and_properly(
    planned: list[dict[str, Any]], rows: int, waiting: int
) -> None:
    callers = Callers(planned)

    async def everything() -> list[str]:
        limits = {"rows": rows, "waiting": waiting, "waiting_per_caller": 3}
        async with serving(callers.engine, **limits) as scheduler:
            async with asyncio.timeout(20):
                endings = await callers.ask(scheduler)
                await until(lambda: scheduler.load().running == 0)
            assert scheduler.load().waiting == 0
            return endings

    logging.getLogger("backend.scheduling.worker").disabled = True
    try:
        endings = asyncio.run(everything())
    finally:
        logging.getLogger("backend.scheduling.worker").disabled = False
    for asked in callers.asked.values():
        added = [text for text in callers.engine.added if text in asked]
        assert added == [text for text in asked if text in added], "out of order"
    can_crash = any(plan["accident"].startswith("crash") for plan in planned)
    for plan, ending in zip(planned, endings, strict=True):
        possible = {"BackendBusyError"}  # the queue is small, and a deadline of nothing may pass
        possible |= {"cancelled"} if plan["cancels_after"] is not None else set()
        possible |= {"GenerationFailedError"} if can_crash or plan["deadline"] == 0 else set()
        possible |= {"TextNotSpeakableError"} if plan["accident"] == "error" else set()
        possible |= {"spoken"} if not plan["accident"] else set()
        assert ending in possible
