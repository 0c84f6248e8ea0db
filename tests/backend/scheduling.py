"""Schedulers on scripted engines, and what their callers do."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from backend.scheduler import Scheduler, SchedulerLimits
from tests.backend.scripted_engine import ScriptedEngine, heard

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from backend.engine import Engine, SpeechJob

REFERENCE = np.zeros(72_000, np.float32)


@asynccontextmanager
async def serving(engine: ScriptedEngine, **limits: Any) -> AsyncIterator[Scheduler]:
    """A scheduler that gathers generously, so that a slow machine changes no test's batches."""
    limits.setdefault("gather_seconds", 0.05)
    scheduler = Scheduler(cast("Engine", engine), SchedulerLimits(**limits))
    scheduler.start()
    try:
        yield scheduler
    finally:
        engine.release()
        await scheduler.close()


async def spoken(
    scheduler: Scheduler, asked: SpeechJob, *, caller: str = "a", deadline: float | None = None
) -> list[int]:
    return heard([c async for c in scheduler.speak(asked, caller=caller, deadline=deadline)])


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - it is another thread that makes it true
            await asyncio.sleep(0.001)
