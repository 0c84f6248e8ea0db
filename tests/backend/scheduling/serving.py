"""Schedulers on scripted engines, and what their callers do."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from backend.scheduling.scheduler import Scheduler, SchedulerLimits
from tests.backend.scripted_engine import ScriptedEngine, heard

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import AsyncIterator, Callable

    from backend.contract import SpeechRequest

REFERENCE = np.zeros(72_000, np.float32)


@asynccontextmanager
async def serving(engine: ScriptedEngine, **limits: Any) -> AsyncIterator[Scheduler]:
    """A scheduler, which must use its engine as the engine's contract demands."""
    scheduler = Scheduler(engine, SchedulerLimits(**limits))
    try:
        yield scheduler
    finally:
        engine.release()
        await scheduler.close()
    assert engine.misuses == []


async def spoken(
    scheduler: Scheduler, asked: SpeechRequest, *, caller: str = "a", deadline: float | None = None
) -> list[int]:
    with scheduler.submit(replace(asked, caller=caller), deadline=deadline) as chunks:
        return heard([chunk async for chunk in chunks])


async def speaking(
    scheduler: Scheduler, asked: SpeechRequest, *, caller: str = "a"
) -> Future[list[int]]:
    """Have it spoken while the test goes on. It has been read, so the next frame can have it."""
    submitted = asyncio.get_running_loop().create_future()

    async def speak() -> list[int]:
        with scheduler.submit(replace(asked, caller=caller)) as chunks:
            submitted.set_result(chunks)
            return heard([chunk async for chunk in chunks])

    task = asyncio.ensure_future(speak())
    await asyncio.wait([task, submitted], return_when=asyncio.FIRST_COMPLETED)
    if submitted.done():
        await asyncio.wait([asyncio.wrap_future(submitted.result().reading)])
    return task


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - it is another thread that makes it true
            await asyncio.sleep(0.001)
