"""A model whose step never ends is noticed, and nothing more is accepted for it."""

from __future__ import annotations

import asyncio
import threading

import pytest

from backend.contract import BackendUnavailableError, GenerationFailedError
from backend.scheduling.scheduler import Scheduler, SchedulerLimits
from tests.backend.scheduling.serving import REFERENCE, serving, speaking, until
from tests.backend.scripted_engine import ScriptedEngine, request, scripted_service


async def test_a_model_gets_on_step_by_step() -> None:
    engine = ScriptedEngine(is_held=True)
    async with serving(engine) as scheduler:
        assert scheduler.step_under_way is None
        answer = await speaking(scheduler, request(3))
        seen: set[int | None] = set()
        for _ in range(3):
            frames = len(seen) + 1
            await until(lambda frames=frames: engine.steps == frames)  # type: ignore[misc]
            seen.add(scheduler.step_under_way)
            engine.allow(1)
        await answer
        assert None not in seen
        await until(lambda: scheduler.step_under_way is None)


@pytest.mark.parametrize("where", ["frame", "prompt", "reading"])
async def test_while_it_hangs_it_takes_nothing_and_should_be_replaced(where: str) -> None:
    engine = ScriptedEngine(is_held=where != "reading")
    read = engine.reading["1"] = threading.Event()
    if where != "reading":
        read.set()
    async with serving(engine, step_seconds=0.1) as scheduler:
        scheduler.check_room()
        work = asyncio.ensure_future(_made(scheduler, where))
        await until(lambda: scheduler.is_beyond_repair)
        with pytest.raises(BackendUnavailableError, match="no step of the model ends"):
            scheduler.check_room()
        read.set()
        engine.release()
        await work
        await until(lambda: scheduler.step_under_way is None)
        scheduler.check_room()
        assert not scheduler.is_beyond_repair


async def _made(scheduler: Scheduler, where: str) -> None:
    if where == "prompt":
        await scheduler.make_prompt(REFERENCE, None, None, caller="a")
        return
    with scheduler.submit(request(1)) as chunks:
        async for _ in chunks:
            pass


async def test_a_service_whose_model_hangs_has_its_process_replaced() -> None:
    breakdowns = []

    async def note() -> None:
        breakdowns.append(1)

    engine = ScriptedEngine(is_held=True)
    limits = SchedulerLimits(step_seconds=0.1)
    service = scripted_service(engine, note, speech_seconds=0.4, limits=limits)
    assert service.health()["ready"]
    with pytest.raises(GenerationFailedError):
        async for _ in service.stream(request(3)):
            pass
    assert breakdowns == [1]
    assert not service.health()["ready"]
    engine.release()
    await service.close()
