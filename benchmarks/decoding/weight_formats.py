"""Measures speech with each format of weights on a processor, beside the plain package."""

from __future__ import annotations

from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

from backend.engine.engine import Engine
from backend.engine.loading import load_model
from backend.weights.formats import WeightFormat
from benchmarks.decoding.codec_cost import FRAMES_PER_SECOND
from benchmarks.decoding.engine_parts import EngineParts
from benchmarks.decoding.first_chunk import FIRST_FRAMES
from benchmarks.decoding.memory_limit import parts_of
from benchmarks.measuring import compare
from benchmarks.our_service import CONSENT

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from benchmarks.decoding.checkpoints import Plan
    from benchmarks.decoding.timed_package import TimedPackage

ROWS = (1, 2, 4, 8)
_FRAMES = 48
"""Of each row: nearly four seconds, as a usual sentence has."""

_GIGA = 1e9


def measure_formats(  # noqa: PLR0913 - what is measured, and with what
    checkpoint: str,
    package: TimedPackage,
    reference: NDArray[np.float32],
    text: str,
    *,
    plan: Plan,
    gigabytes_per_second: float,
) -> dict[str, Any]:
    """Compare the formats and the package, all in turn.

    Args:
        checkpoint: The checkpoint.
        package: The plain package, with the same checkpoint.
        reference: The reference clip.
        text: Its transcript, and what is said.
        plan: How much is measured.
        gigabytes_per_second: How fast this machine reads weights.

    Returns:
        For each format: "frames" has the frames of all rows that are made in a second, codec and
        prefill included, by the number of rows, and "real_time" the same as seconds of speech.
        "first_chunk_ms" is the time until the first chunk is decoded. "frame_ms" is the language
        model's time for a frame of one row, at best and in the median, and "limit_share" what share
        of the best is needed to read a byte for each weight. "package" has the package's frames.
        For int8, "to_package" and "to_float32" are the ratios of the frames of one row.
    """
    ours = {each: _parts(checkpoint, each, reference, text) for each in WeightFormat}
    contestants: dict[str, Callable[[], float]] = {
        "package": lambda: _package_frames_per_second(package, text, _FRAMES)
    }
    for each, parts in ours.items():
        parts.run(text, FIRST_FRAMES)  # a warm-up
        contestants[f"{each} 1"] = partial(_frames_per_second, parts, text, _FRAMES, 1)
        contestants[f"{each} first"] = partial(_first_chunk_ms, parts, text)
    together: dict[str, Callable[[], float]] = {
        f"{each} {rows}": partial(_frames_per_second, ours[each], text, _FRAMES, rows)
        for rows in ROWS[1:]
        for each in ours
    }
    # Many rows take minutes, and no target is about them.
    measured = compare(plan.repeats, contestants) | compare(1, together)
    seconds: dict[WeightFormat, list[float]] = {each: [] for each in ours}
    for _ in range(plan.repeats):
        for each, parts in ours.items():
            seconds[each] += parts.run_language(text, _FRAMES).frame_seconds
    numbers = sum(each.bytes_per_frame for each in parts_of(ours[WeightFormat.INT8].talker, 1))
    figures: dict[str, Any] = {"package": measured["package"]}
    for each in ours:
        frames = {str(rows): measured[f"{each} {rows}"] for rows in ROWS}
        figures[each] = {
            "frames": frames,
            "real_time": {rows: made / FRAMES_PER_SECOND for rows, made in frames.items()},
            "first_chunk_ms": measured[f"{each} first"],
            "frame_ms": min(seconds[each]) * 1_000,
            "median_frame_ms": median(seconds[each]) * 1_000,
            "limit_share": numbers / _GIGA / gigabytes_per_second / min(seconds[each]),
        }
    fastest = measured[f"{WeightFormat.INT8} 1"]
    figures["to_package"] = fastest / measured["package"]
    figures["to_float32"] = fastest / measured[f"{WeightFormat.FLOAT32} 1"]
    return figures


def _parts(
    checkpoint: str, weights: WeightFormat, reference: NDArray[np.float32], text: str
) -> EngineParts:
    """Load an engine with weights in a format, as the service does."""
    engine = Engine(*load_model(checkpoint, device="cpu", weights=weights.value), watermark=None)
    return EngineParts(engine, engine.make_prompt(reference, text, CONSENT))


def _frames_per_second(ours: EngineParts, text: str, frames: int, rows: int) -> float:
    made, seconds = ours.run(text, frames, rows)
    return made / seconds


def _first_chunk_ms(ours: EngineParts, text: str) -> float:
    return ours.run(text, FIRST_FRAMES)[1] * 1_000


def _package_frames_per_second(package: TimedPackage, text: str, frames: int) -> float:
    run = package.run(text, frames)
    return run.frames / run.seconds
