"""Measures the codec's time for each frame: in pieces with its state, and in one pass."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch

from backend.engine.chunk_plan import plan_for
from benchmarks.measuring import compare, seconds_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.decoding.checkpoints import Plan
    from benchmarks.decoding.engine_parts import EngineParts
    from benchmarks.decoding.timed_package import TimedPackage

FRAMES_PER_SECOND = 12.5


def measure_codec(
    ours: EngineParts, package: TimedPackage, plan: Plan
) -> dict[str, dict[str, float]]:
    """Compare the milliseconds for a frame, at several lengths of speech.

    The codec in pieces is compared with the package's own `decode`, which takes 300 frames at a
    time and decodes 25 of them again, and with its decoder over all frames at once. "ratio" is the
    ratio to the faster of the two.
    """
    return {
        str(seconds): _at_length(ours, package, plan, seconds) for seconds in plan.codec_seconds
    }


def _at_length(
    ours: EngineParts, package: TimedPackage, plan: Plan, seconds: int
) -> dict[str, float]:
    frames = round(seconds * FRAMES_PER_SECOND)
    codes = ours.random_codes(frames)
    ways: dict[str, Callable[[], object]] = {
        "streamed_ms": lambda: _stream(ours, codes),
        "package_ms": lambda: package.decode(codes),
    }
    if seconds <= plan.one_pass_seconds:
        ways["one_pass_ms"] = lambda: package.decode_in_one_pass(codes)
    seconds_of_way = compare(
        plan.codec_repeats, {name: partial(seconds_of, way) for name, way in ways.items()}
    )
    streamed, *others = [taken / frames * 1_000 for taken in seconds_of_way.values()]
    cost = dict(zip(ways, [streamed, *others], strict=True))
    return {**cost, "ratio": streamed / min(others)}


def _stream(ours: EngineParts, codes: torch.Tensor) -> None:
    """Decode in the same chunks as the engine."""
    plan = plan_for(codes.device)
    first, rest = codes.tensor_split([sum(plan.first_chunks)], dim=1)
    ours.decode_in_pieces(
        [
            *torch.split(first, list(plan.first_chunks), dim=1),
            *torch.split(rest, plan.later_chunks, dim=1),
        ]
    )
