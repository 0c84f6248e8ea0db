"""Measures callers who arrive at random: the engine with its scheduler, the package with a lock."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.measuring import compare
from tests.support.recordings import SENTENCES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.decoding.timed_package import TimedPackage
    from benchmarks.our_service import OurService

FRAMES_PER_SECOND = 12.5
SENTENCES_EACH = 2
LENGTHS = (16, 24, 32)
"""The possible numbers of frames in a sentence: 1.3 to 2.6 s. The engine's chunks end there, so no
request is cancelled in the middle of a chunk."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller who requests some sentences, each when the one before is complete.

    Attributes:
        name: A unique name.
        arrives: The seconds after which the first sentence is requested.
        frames: The number of frames of each sentence.
    """

    name: str
    arrives: float
    frames: tuple[int, ...]


def draw_callers(count: int, within: float, seed: int) -> list[Caller]:
    """Draw callers who arrive independently of each other.

    Args:
        count: The number of callers.
        within: The average seconds until all of them have arrived. The first arrives at once.
        seed: The same seed gives the same callers.
    """
    generator = np.random.default_rng(seed)
    gaps = generator.exponential(within / (count - 1), count - 1)
    arrivals = np.concatenate([[0.0], gaps.cumsum()])
    frames = generator.choice(LENGTHS, (count, SENTENCES_EACH))
    return [
        Caller(f"caller {number}", float(arrives), tuple(map(int, each)))
        for number, (arrives, each) in enumerate(zip(arrivals, frames, strict=True))
    ]


def measure_arrivals(
    service: OurService, package: TimedPackage, counts: Sequence[int], repeats: int
) -> dict[str, dict[str, float]]:
    """Compare the frames per second, including the codec, without a watermark.

    Callers arrive within the time that the engine takes for one sentence.

    Args:
        service: The idle engine.
        package: The idle package.
        counts: The numbers of callers to measure.
        repeats: How often each is measured.
    """
    sentence = float(np.mean(LENGTHS)) / FRAMES_PER_SECOND
    began = time.perf_counter()
    service.run(_receive(service, "caller", SENTENCES[0], sentence))
    within = time.perf_counter() - began
    return {
        str(count): _compare(service, package, draw_callers(count, within, seed=count), repeats)
        for count in counts
    }


def _compare(
    service: OurService, package: TimedPackage, callers: Sequence[Caller], repeats: int
) -> dict[str, float]:
    speed = compare(
        repeats,
        {
            "ours": lambda: service.run(_ask_service(service, callers)),
            "package": lambda: _ask_package(package, callers),
        },
    )
    return {**speed, "ratio": speed["ours"] / speed["package"]}


async def _ask_service(service: OurService, callers: Sequence[Caller]) -> float:
    began = time.perf_counter()
    seconds = await asyncio.gather(*(_call(service, caller) for caller in callers))
    return sum(seconds) * FRAMES_PER_SECOND / (time.perf_counter() - began)


async def _call(service: OurService, caller: Caller) -> float:
    await asyncio.sleep(caller.arrives)
    seconds = [
        await _receive(service, caller.name, text, frames / FRAMES_PER_SECOND)
        for text, frames in _sentences(caller)
    ]
    return sum(seconds)


async def _receive(service: OurService, caller: str, text: str, seconds: float) -> float:
    """Read at least this many seconds of a text's speech, then cancel; return how many came."""
    async with aclosing(service.listen(text, caller)) as speech:
        async for received in speech:
            if received >= seconds:
                return received
    raise RuntimeError("the speech ended too soon")


def _ask_package(package: TimedPackage, callers: Sequence[Caller]) -> float:
    began = time.perf_counter()

    def call(caller: Caller) -> int:
        time.sleep(caller.arrives)
        return sum(package.run(text, frames).frames for text, frames in _sentences(caller))

    with ThreadPoolExecutor(len(callers)) as threads:
        frames = sum(threads.map(call, callers))
    return frames / (time.perf_counter() - began)


def _sentences(caller: Caller) -> list[tuple[str, int]]:
    return [(SENTENCES[frames % len(SENTENCES)], frames) for frames in caller.frames]
