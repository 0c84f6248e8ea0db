"""Measures the time to a request's first chunk: alone, and while other requests run."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from itertools import count
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.measuring import compare, seconds_of

if TYPE_CHECKING:
    from benchmarks.decoding.engine_parts import EngineParts
    from benchmarks.our_service import OurService

FIRST_FRAMES = 4
"""The number of frames in the first chunk."""

OTHERS = 7
"""The number of requests that run while a new one arrives."""

_FRAMES = 8
_NEW_REQUESTS = 5


def measure_first_chunk(ours: EngineParts, text: str, repeats: int) -> dict[str, float]:
    """Compare the time until the first chunk with that of its parts.

    Args:
        ours: An idle engine.
        text: The text of the requests.
        repeats: How often each is measured.

    Returns:
        Milliseconds. "ratio" is the time from the prefill to the first chunk, divided by the time
        of four frames and one call of the codec. "new_reference_ms" is the additional time for a
        voice whose reference is not cached.
    """
    codes = ours.random_codes(FIRST_FRAMES)
    shifts = count(1)  # so that no reference is cached
    ours.run(text, FIRST_FRAMES)
    cost = compare(
        repeats,
        {
            "first_chunk_ms": lambda: ours.run(text, FIRST_FRAMES)[1],
            "prompt_ms": lambda: ours.run_language(text, 1).prompt_seconds,
            "frame_ms": lambda: median(ours.run_language(text, _FRAMES).frame_seconds),
            "codec_ms": lambda: seconds_of(lambda: ours.decode_in_pieces([codes])),
            "new_reference_ms": lambda: seconds_of(
                lambda: ours.decode_reference(text, next(shifts))
            ),
        },
    )
    cost = {name: seconds * 1_000 for name, seconds in cost.items()}
    needed = FIRST_FRAMES * cost["frame_ms"] + cost["codec_ms"]
    return {**cost, "ratio": (cost["first_chunk_ms"] - cost["prompt_ms"]) / needed}


def measure_with_others(service: OurService, text: str, repeats: int) -> dict[str, float]:
    """Compare the milliseconds until the first chunk: alone, and while seven other requests run.

    Args:
        service: An idle service.
        text: The text of all requests.
        repeats: How often it is measured, with several new requests each time.
    """

    def alone() -> float:
        return service.run(_new_requests(service, text))

    def with_others() -> float:
        return service.run(_with_others(service, text))

    cost = compare(repeats, {"idle_ms": alone, "in_company_ms": with_others})
    return {**cost, "ratio": cost["in_company_ms"] / cost["idle_ms"]}


async def _new_requests(service: OurService, text: str) -> float:
    """Make requests one after the other; return the median time until their first chunks."""
    seconds = [await service.time_to_first_chunk(text, "new caller") for _ in range(_NEW_REQUESTS)]
    return median(seconds) * 1_000


async def _with_others(service: OurService, text: str) -> float:
    begun = [asyncio.Event() for _ in range(OTHERS)]
    others = [
        asyncio.create_task(_read_all(service, text, f"other {number}", event))
        for number, event in enumerate(begun)
    ]
    await asyncio.gather(*(event.wait() for event in begun))
    milliseconds = await _new_requests(service, text)
    for other in others:
        if other.done():
            raise RuntimeError("the other requests ended too soon")
        other.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    return milliseconds


async def _read_all(service: OurService, text: str, caller: str, begun: asyncio.Event) -> None:
    async with aclosing(service.listen(text, caller)) as speech:
        async for _ in speech:
            begun.set()
