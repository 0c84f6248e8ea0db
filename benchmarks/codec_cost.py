"""What the codec costs for each frame: streamed with its state, and in one go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from benchmarks.measuring import compare, seconds_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.engine_parts import EngineParts
    from benchmarks.timed_package import TimedPackage

PIECE_FRAMES = 8
"""As the engine streams them, once a row is under way."""

FRAMES_PER_SECOND = 12.5


def measure_codec(
    ours: EngineParts, package: TimedPackage, lengths: Sequence[int], repeats: int
) -> dict[str, dict[str, float]]:
    """Compare the milliseconds for a frame, at several lengths of speech.

    The other sides are the package's own decode, which takes 300 frames at a time and repeats 25 of
    them, and its decoder over all frames at once; "ratio" is to the cheaper of the two.

    Args:
        ours: Streams.
        package: Decodes at once.
        lengths: In seconds.
        repeats: How often each is measured.
    """
    return {str(seconds): _at_length(ours, package, seconds, repeats) for seconds in lengths}


def _at_length(
    ours: EngineParts, package: TimedPackage, seconds: int, repeats: int
) -> dict[str, float]:
    frames = round(seconds * FRAMES_PER_SECOND)
    codes = ours.random_codes(frames)
    cost = compare(
        repeats,
        {
            "streamed_ms": lambda: seconds_of(lambda: _stream(ours, codes)),
            "package_ms": lambda: seconds_of(lambda: package.decode(codes)),
            "one_pass_ms": lambda: seconds_of(lambda: package.decode_in_one_pass(codes)),
        },
    )
    cost = {name: taken / frames * 1_000 for name, taken in cost.items()}
    cheapest = min(cost["package_ms"], cost["one_pass_ms"])
    return {**cost, "ratio": cost["streamed_ms"] / cheapest}


def _stream(ours: EngineParts, codes: torch.Tensor) -> None:
    stream = ours.open_codec()
    for piece in torch.split(codes, PIECE_FRAMES, dim=1):
        stream.decode(piece).cpu()
