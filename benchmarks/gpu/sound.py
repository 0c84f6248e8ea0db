"""Measures what comes after the language model: the codec and the watermark."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, Any

import torch

from backend.engine.generation import FIRST_CHUNK_FRAMES
from benchmarks.gpu.models import FRAME_MILLISECONDS, SAMPLES_A_FRAME, buzz

if TYPE_CHECKING:
    from backend.watermark.watermark import Watermarker
    from benchmarks.gpu.setup import Setup

_SIZES = ((1, FIRST_CHUNK_FRAMES[0]), (1, 8), (1, 20), (2, 20), (8, 4), (8, 20), (16, 4))


def codec(setup: Setup, name: str) -> dict[str, Any]:
    """Measure a call of the codec for so many rows and frames."""
    engine = setup.models.engine(name)
    config = engine.package_model.model.speech_tokenizer.config.decoder_config
    groups = engine.parts.code_groups
    nothing = torch.zeros(0, groups, dtype=torch.long, device=setup.models.device)
    found: dict[str, Any] = {}
    for rows, frames in _SIZES:
        states = [engine.codec.open(nothing) for _ in range(rows)]
        codes = torch.randint(
            config.codebook_size, (rows, frames, groups), device=setup.models.device
        )

        def work(states: Any = states, codes: Any = codes) -> None:
            engine.codec.decode(states, codes).float().cpu()

        found[f"{rows} x {frames}"] = setup.clock.milliseconds(
            work, 3 if setup.models.is_miniature else 10
        )
    later = found["1 x 20"] / 20
    frame = setup.report.figures.get(f"{name} frame ms")
    share = "" if frame is None else f"; {later / (later + frame):.0%} of a frame, one row"
    if frame is not None:
        setup.report.figures[f"{name} codec, percent of a frame"] = later / (later + frame) * 100
    setup.report.line(
        f"{name} codec, rows x frames",
        ", ".join(f"{size}: {taken:.1f} ms" for size, taken in found.items()) + share,
    )
    one, first = engine.codec.open(nothing), codes[:1, : FIRST_CHUNK_FRAMES[0]]
    found["kernels"] = setup.clock.kernels(lambda: engine.codec.decode([one], first))
    setup.report.line(
        f"{name} kernels of a codec's call, 1 x {first.shape[1]}",
        f"{found['kernels']['kernels']}: {found['kernels']['busy_ms']:.2f} ms busy, "
        f"{found['kernels']['wall_ms']:.2f} ms by the clock",
    )
    return found


def watermark(setup: Setup, marker: Watermarker) -> dict[str, Any]:
    """Measure how long a chunk takes to be marked."""
    found = {}
    for frames in (FIRST_CHUNK_FRAMES[0], 20):
        chunk = buzz(seconds=2.0)[: frames * SAMPLES_A_FRAME]
        stream = marker.stream()
        found[f"{frames} frames"] = setup.clock.milliseconds(lambda: stream.push(chunk))  # noqa: B023
    share = fmean(taken / int(size.split()[0]) for size, taken in found.items())
    setup.report.line(
        "marking a chunk",
        ", ".join(f"{size}: {taken:.1f} ms" for size, taken in found.items())
        + f" ({share / FRAME_MILLISECONDS:.1%} of real time)",
    )
    return found
