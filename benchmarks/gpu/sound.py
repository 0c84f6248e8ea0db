"""Measures what comes after the language model: the codec and the watermark."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from backend.engine.chunk_plan import GPU_PLAN
from benchmarks.decoding.engine_parts import SAMPLES_A_FRAME
from benchmarks.decoding.memory_limit import FRAME_MILLISECONDS
from benchmarks.gpu.models import reference

if TYPE_CHECKING:
    from backend.watermark.watermark import Watermarker
    from benchmarks.gpu.setup import Setup

_FIRST, _LATER = GPU_PLAN.first_chunks[0], GPU_PLAN.later_chunks


def _sizes(setup: Setup) -> list[tuple[int, int]]:
    """Return how many rows and frames are measured together."""
    rows = (1, 2) if setup.models.is_miniature else (1, 4, 16)
    return [(count, frames) for count in rows for frames in (_FIRST, _LATER)]


def codec(setup: Setup, name: str) -> dict[str, Any]:
    """Measure a call of the codec for so many rows and frames."""
    engine = setup.models.engine(name)
    config = engine.package_model.model.speech_tokenizer.config.decoder_config
    groups = engine.parts.code_groups
    nothing = torch.zeros(0, groups, dtype=torch.long)
    found: dict[str, Any] = {}
    sizes = _sizes(setup)
    engine.codec.clear()
    rows = [engine.codec.open(nothing) for _ in range(max(count for count, _ in sizes))]
    codes = torch.randint(
        config.codebook_size, (len(rows), _LATER, groups), device=setup.models.device
    )

    def decode(count: int, frames: int) -> None:
        samples = engine.codec.decode(rows[:count], codes[:count, :frames])
        reading = engine.codec.begin_reading(samples)
        reading.wait()
        reading.read()

    repeats = 3 if setup.models.is_miniature else 20
    for count, frames in sizes:
        found[f"{count} x {frames}"] = setup.clock.milliseconds(
            partial(decode, count, frames), repeats
        )
    later = found[f"1 x {_LATER}"] / _LATER
    frame = setup.report.figures.get(f"{name} frame ms")
    share = "" if frame is None else f"; {later / (later + frame):.0%} of a frame, one row"
    if frame is not None:
        setup.report.figures[f"{name} codec, percent of a frame"] = later / (later + frame) * 100
    setup.report.line(
        f"{name} codec, rows x frames",
        ", ".join(f"{size}: {taken:.1f} ms" for size, taken in found.items()) + share,
    )
    found["kernels"] = setup.clock.kernels(partial(decode, 1, _FIRST))
    setup.report.line(
        f"{name} kernels of a codec's call, 1 x {_FIRST}",
        f"{found['kernels']['kernels']}: {found['kernels']['busy_ms']:.2f} ms busy, "
        f"{found['kernels']['wall_ms']:.2f} ms by the clock",
    )
    for row in rows:
        engine.codec.close(row)
    return found


def watermark(setup: Setup, marker: Watermarker) -> dict[str, Any]:
    """Measure how long chunks of so many rows and frames take to be marked together."""
    found = {}
    repeats = 2 if setup.models.is_miniature else 10
    for rows, frames in _sizes(setup):
        chunks = [reference(seconds=2.0)[: frames * SAMPLES_A_FRAME]] * rows
        streams = [marker.stream() for _ in chunks]
        found[f"{rows} x {frames}"] = setup.clock.milliseconds(
            partial(marker.push, streams, chunks), repeats
        )
    share = found[f"1 x {_LATER}"] / _LATER / FRAME_MILLISECONDS
    setup.report.line(
        "marking chunks, rows x frames",
        ", ".join(f"{size}: {taken:.1f} ms" for size, taken in found.items())
        + f" ({share:.1%} of real time, one row)",
    )
    return found
