"""Measures how long somebody waits for the first sound, alone and beside others."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING, Any

from backend.scheduling.scheduler import Scheduler, SchedulerLimits
from benchmarks.gpu.texts import TEXTS

if TYPE_CHECKING:
    from backend.contract import SpeechRequest
    from backend.engine.engine import Engine
    from backend.watermark.watermark import Watermarker
    from benchmarks.gpu.models import Models
    from benchmarks.gpu.setup import Setup

OTHERS = 16
_REQUESTS = 8
_LONG_TEXT = " ".join([TEXTS[0][1]] * 5)


def first_sound(setup: Setup, name: str, watermark: Watermarker | None) -> dict[str, Any]:
    """Measure the time from a request to its first samples, through the scheduler.

    Args:
        setup: The run.
        name: The model's name.
        watermark: Marks the speech, which delays it; None if that is not installed.
    """
    engine = setup.models.engine(name, watermark)
    others = min(2 if setup.models.is_miniature else OTHERS, engine.rows - 1)
    laps = asyncio.run(_measure(setup.models, engine, others))
    found = {
        "is_marked": watermark is not None,
        "others": others,
        "new_voice_ms": laps["new voice"],
        "alone_ms": laps["alone"],
        "beside_ms": laps["beside others"],
    }
    alone, beside = median(laps["alone"]), median(laps["beside others"])
    if watermark is not None:
        setup.report.figures[f"{name} first sound ms"] = alone
        setup.report.figures[f"{name} first sound beside {others} ms"] = beside
    setup.report.line(
        f"{name} {'' if watermark else 'unmarked '}first sound",
        f"{alone:.0f} ms ({max(laps['alone']):.0f} at most), {beside:.0f} while {others} speak "
        f"({max(laps['beside others']):.0f} at most); of a voice that was not heard before "
        f"{median(laps['new voice']):.0f}, the first of all {laps['new voice'][0]:.0f}",
    )
    return found


async def _measure(models: Models, engine: Engine, others: int) -> dict[str, list[float]]:
    new = [models.request(engine, number, pitch=150.0 + 9 * number) for number in range(4)]
    same = models.request(engine)
    beside = [
        replace(same, text=_LONG_TEXT, caller=f"other {number}", seed=number)
        for number in range(others)
    ]
    scheduler = Scheduler(engine, SchedulerLimits(rows=engine.rows))
    tasks: list[asyncio.Task[None]] = []
    try:
        laps = {"new voice": [await _until_sound(scheduler, each) for each in new]}
        laps["alone"] = [await _until_sound(scheduler, same) for _ in range(_REQUESTS)]
        begun = [asyncio.Event() for _ in beside]
        tasks += [
            asyncio.create_task(_listen(scheduler, request, event))
            for request, event in zip(beside, begun, strict=True)
        ]
        await asyncio.gather(*(event.wait() for event in begun))
        laps["beside others"] = [await _until_sound(scheduler, same) for _ in range(_REQUESTS)]
        if any(task.done() for task in tasks):
            raise RuntimeError("the others did not speak for long enough")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await scheduler.close()
    return laps


async def _until_sound(scheduler: Scheduler, request: SpeechRequest) -> float:
    """Ask for speech, and cancel it at its first samples; return the milliseconds until then."""
    began = time.perf_counter()
    with scheduler.submit(request) as chunks:
        async for chunk in chunks:
            if chunk.pcm:
                return (time.perf_counter() - began) * 1_000
    raise RuntimeError("there was no sound")


async def _listen(scheduler: Scheduler, request: SpeechRequest, begun: asyncio.Event) -> None:
    with scheduler.submit(request) as chunks:
        async for _ in chunks:
            begun.set()
