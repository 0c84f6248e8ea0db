"""What the codec costs for each frame: streamed with its state, and in one go."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch

from benchmarks.measuring import compare, seconds_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.decoding.checkpoints import Plan
    from benchmarks.decoding.engine_parts import EngineParts
    from benchmarks.decoding.timed_package import TimedPackage

PIECE_FRAMES = 8
"""As the engine streams them, once a row is under way."""

FRAMES_PER_SECOND = 12.5


def measure_codec(
    ours: EngineParts, package: TimedPackage, plan: Plan
) -> dict[str, dict[str, float]]:
    """Compare the milliseconds for a frame, at several lengths of speech.

    The other sides are the package's own decode, which takes 300 frames at a time and repeats 25 of
    them, and its decoder over all frames at once; "ratio" is to the cheaper of the two.
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
    stream = ours.open_codec()
    for piece in torch.split(codes, PIECE_FRAMES, dim=1):
        stream.decode(piece).cpu()
