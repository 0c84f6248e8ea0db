"""Measures speech with each format of weights on a processor, beside the plain package."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

import torch

from backend.engine.engine import Engine
from backend.engine.loading import load_model
from backend.weights.formats import WeightFormat
from benchmarks.decoding.codec_cost import FRAMES_PER_SECOND
from benchmarks.decoding.engine_parts import EngineParts
from benchmarks.decoding.first_chunk import FIRST_FRAMES
from benchmarks.decoding.memory_limit import parts_of
from benchmarks.decoding.own_process import OwnProcess
from benchmarks.decoding.timed_package import TimedPackage
from benchmarks.measuring import compare
from benchmarks.our_service import CONSENT

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from benchmarks.decoding.checkpoints import Plan

ROWS = (1, 2, 4, 8)
_FRAMES = 48
"""Of each row: nearly four seconds, as a usual sentence has."""

_GIGA = 1e9


def measure_formats(
    checkpoint: str,
    reference: NDArray[np.float32],
    text: str,
    *,
    plan: Plan,
    gigabytes_per_second: float,
) -> dict[str, Any]:
    """Compare the formats and the package, all in turn, each in a process of its own.

    Args:
        checkpoint: The checkpoint.
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
    setting = (checkpoint, reference, text, torch.get_num_threads())
    with ExitStack() as running:
        package = running.enter_context(OwnProcess(_package, *setting))
        ours = {
            each: running.enter_context(OwnProcess(_parts, *setting, each)) for each in WeightFormat
        }
        contestants: dict[str, Callable[[], float]] = {
            "package": partial(package.call, _package_frames_per_second, text, _FRAMES)
        }
        package.call(_package_frames_per_second, text, FIRST_FRAMES)  # a warm-up
        for each, process in ours.items():
            process.call(_first_chunk_ms, text)
            contestants[f"{each} 1"] = partial(process.call, _frames_per_second, text, _FRAMES, 1)
            contestants[f"{each} first"] = partial(process.call, _first_chunk_ms, text)
        together: dict[str, Callable[[], float]] = {
            f"{each} {rows}": partial(process.call, _frames_per_second, text, _FRAMES, rows)
            for rows in ROWS[1:]
            for each, process in ours.items()
        }
        # Many rows take minutes, and no target is about them.
        measured = compare(plan.repeats, contestants) | compare(1, together)
        seconds: dict[WeightFormat, list[float]] = {each: [] for each in ours}
        for _ in range(plan.repeats):
            for each, process in ours.items():
                seconds[each] += process.call(_seconds_of_frames, text, _FRAMES)
        numbers = ours[WeightFormat.INT8].call(_numbers_of_a_frame)
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


def _package(
    checkpoint: str, reference: NDArray[np.float32], text: str, threads: int
) -> TimedPackage:
    """Load the plain package."""
    logging.getLogger("transformers").setLevel(logging.ERROR)  # it logs every generation
    torch.set_num_threads(threads)
    return TimedPackage(
        checkpoint,
        device="cpu",
        dtype="float32",
        attention="sdpa",
        reference=reference,
        transcript=text,
    )


def _parts(
    checkpoint: str,
    reference: NDArray[np.float32],
    text: str,
    threads: int,
    weights: WeightFormat,
) -> EngineParts:
    """Load an engine with weights in a format, as the service does."""
    torch.set_num_threads(threads)
    engine = Engine(*load_model(checkpoint, device="cpu", weights=weights.value), watermark=None)
    return EngineParts(engine, engine.make_prompt(reference, text, CONSENT))


def _frames_per_second(ours: EngineParts, text: str, frames: int, rows: int) -> float:
    made, seconds = ours.run(text, frames, rows)
    return made / seconds


def _first_chunk_ms(ours: EngineParts, text: str) -> float:
    return ours.run(text, FIRST_FRAMES)[1] * 1_000


def _seconds_of_frames(ours: EngineParts, text: str, frames: int) -> list[float]:
    return ours.run_language(text, frames).frame_seconds


def _numbers_of_a_frame(ours: EngineParts) -> int:
    return sum(each.bytes_per_frame for each in parts_of(ours.talker, 1))


def _package_frames_per_second(package: TimedPackage, text: str, frames: int) -> float:
    run = package.run(text, frames)
    return run.frames / run.seconds
