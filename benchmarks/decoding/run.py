"""Runs the decoder's benchmark on one checkpoint."""

from __future__ import annotations

import json
import logging
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import torch

from backend.engine.engine import Engine
from backend.engine.loading import load_model
from benchmarks.decoding.checkpoints import Plan, plan_for, prepare
from benchmarks.decoding.codec_cost import measure_codec
from benchmarks.decoding.engine_parts import EngineParts
from benchmarks.decoding.first_chunk import measure_first_chunk, measure_with_others
from benchmarks.decoding.memory_limit import parts_of
from benchmarks.decoding.random_arrivals import measure_arrivals
from benchmarks.decoding.read_rate import read_rates
from benchmarks.decoding.timed_package import TimedPackage
from benchmarks.decoding.weight_formats import measure_formats
from benchmarks.measuring import compare
from benchmarks.our_service import CONSENT, OurService
from tests.support.recordings import SENTENCES, speech

TEXT = SENTENCES[0]
CALLERS = (8, 16)
_ARRIVALS = 3
_GIGA = 1e9


def measure(model: str) -> dict[str, Any]:
    """Measure one model. To be called in a new process, because it changes torch's threads.

    Args:
        model: A name of `benchmarks.decoding.checkpoints.PLANS`, or a checkpoint's folder.

    Returns:
        The figures that `benchmarks.decoder` prints, as nested objects.
    """
    logging.getLogger("transformers").setLevel(logging.ERROR)  # it logs every generation
    plan = plan_for(model)
    with tempfile.TemporaryDirectory() as folder:
        return _measure(plan, prepare(model, Path(folder)))


def _measure(plan: Plan, checkpoint: str) -> dict[str, Any]:
    # On a processor, everything but the formats is measured in float32, as the package computes.
    dtype = None if torch.cuda.is_available() else "float32"
    engine = Engine(*load_model(checkpoint, dtype=dtype), watermark=None)
    info = engine.info()
    reference = speech(plan.reference_seconds).copy()
    package = TimedPackage(
        checkpoint,
        device=info.device,
        dtype=info.dtype,
        attention=info.attention,
        reference=reference,
        transcript=TEXT,
    )
    ours = EngineParts(engine, engine.make_prompt(reference, TEXT, CONSENT))
    figures: dict[str, Any] = {
        "setting": f"{info.device_name}, {info.dtype}, {torch.get_num_threads()} threads"
    }

    def note(name: str, measured: dict[str, Any]) -> None:
        """Store figures, and print them to show the progress."""
        figures[name] = measured
        print(name, json.dumps(measured), file=sys.stderr)  # noqa: T201 - a command-line program

    note("one_request", _measure_one_request(ours, package, plan))
    if plan.has_limit:
        note("limit", _measure_limit(ours, plan))
    if plan.has_formats and info.device == "cpu":
        rate = figures["limit"]["gigabytes_per_second"]["matvec"]
        formats = measure_formats(checkpoint, reference, TEXT, plan=plan, gigabytes_per_second=rate)
        note("formats", formats)
    note("first_chunk", measure_first_chunk(ours, TEXT, plan.repeats))
    if plan.has_callers:
        service = OurService(engine, reference, TEXT)
        note("first_chunk_in_company", measure_with_others(service, TEXT, plan.repeats))
        note("callers", measure_arrivals(service, package, CALLERS, _ARRIVALS))
        service.close()
    note("codec", measure_codec(ours, package, plan))
    return figures


def _measure_one_request(ours: EngineParts, package: TimedPackage, plan: Plan) -> dict[str, float]:
    """Compare frames per second, including the prefill."""
    ours.run_language(TEXT, plan.frames)  # a warm-up, because first calls are slow
    package.run(TEXT, plan.frames)
    package_language: list[float] = []

    def run_ours() -> float:
        frames, seconds = ours.run(TEXT, plan.frames)
        return frames / seconds

    def run_our_language() -> float:
        run = ours.run_language(TEXT, plan.frames)
        return len(run.frame_seconds) / run.seconds

    def run_package() -> float:
        run = package.run(TEXT, plan.frames)
        package_language.append(run.frames / run.language_seconds)
        return run.frames / run.seconds

    speed = compare(
        plan.repeats,
        {"language_ours": run_our_language, "pipeline_ours": run_ours, "package": run_package},
    )
    language_package = median(package_language)
    return {
        "language_ours": speed["language_ours"],
        "language_package": language_package,
        "language_ratio": speed["language_ours"] / language_package,
        "pipeline_ours": speed["pipeline_ours"],
        "pipeline_package": speed["package"],
        "pipeline_ratio": speed["pipeline_ours"] / speed["package"],
    }


def _measure_limit(ours: EngineParts, plan: Plan) -> dict[str, Any]:
    """Compare the time of a frame with the time for reading its weights.

    The best attempt of each is used. On a shared machine, medians depend more on what else runs.
    """
    parts = parts_of(ours.talker)
    size = sum(part.bytes_per_frame for part in parts)
    frames, rates = [], []
    for _ in range(plan.repeats):
        frames += ours.run_language(TEXT, plan.frames).frame_seconds
        rates.append(read_rates(ours.talker))
    best = {name: max(rate[name] for rate in rates) for name in rates[0]}
    frame = min(frames)
    return {
        "parts": [
            {"name": part.name, "times": part.times, "megabytes": part.size / 1e6} for part in parts
        ],
        "gigabytes_per_frame": size / _GIGA,
        "gigabytes_per_second": best,
        "frame_ms": frame * 1_000,
        "median_frame_ms": median(frames) * 1_000,
        "share": {name: size / _GIGA / rate / frame for name, rate in best.items()},
    }
