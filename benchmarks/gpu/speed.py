"""Measures how fast frames are decoded: one row and many, and what limits that."""

from __future__ import annotations

import time
import traceback
from functools import partial
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any

import torch

from backend.engine.cuda_graphs import CudaGraphRecorder
from benchmarks.decoding.engine_parts import SAMPLES_A_FRAME
from benchmarks.decoding.memory_limit import FRAME_MILLISECONDS, parts_of
from benchmarks.decoding.timed_package import TimedPackage
from benchmarks.gpu.models import batch_of, decode_until_all_speak, reference
from benchmarks.gpu.texts import TEXTS, TRANSCRIPT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backend.engine.decode_step import DecodeStep
    from backend.engine.engine import Engine
    from backend.engine.step_graphs import StepGraphs
    from benchmarks.gpu.models import Models
    from benchmarks.gpu.setup import Setup
    from benchmarks.gpu.timing import Clock

_WARM_FRAMES = 3
_SHORT_CHUNK_FRAMES = 28
"""A row's first chunks are short: 4, 4, 8 and 12 frames on a CPU, 3, 2 and 4 on a GPU."""


def load(setup: Setup, name: str, rate: float) -> dict[str, Any]:
    """Load a model as a container does: how long that takes, how much memory, which graphs.

    Args:
        setup: The run.
        name: The model's name.
        rate: How many gigabytes of memory the device reads in a second.
    """
    free, began = setup.clock.free_gigabytes(), time.perf_counter()
    engine = setup.models.engine(name)
    seconds = time.perf_counter() - began
    info = engine.info()
    size = _gigabytes_per_frame(engine)
    setup.report.figures[f"{name} limit ms"] = size / rate * 1_000
    setup.report.figures[f"{name} start seconds"] = seconds
    setup.report.line(
        f"{name} loaded",
        f"{seconds:.1f} s, of that {info.load_seconds:.1f} for weights; {info.dtype}, codec "
        f"{info.codec_dtype}, {info.attention}, room for {engine.rows} rows, "
        f"{free - setup.clock.free_gigabytes():.1f} GB; graphs: {info.cuda_graphs_reason}",
    )
    setup.report.line(
        f"{name} limit",
        f"a frame reads {size:.2f} GB of weights: at least {size / rate * 1_000:.2f} ms",
    )
    if setup.clock.is_gpu and engine.step and (engine.graphs is None or engine.graphs.failures):
        setup.report.line(f"{name} why a step cannot be captured", _why_not_captured(engine.step))
    return {
        "seconds": seconds,
        "rows": engine.rows,
        "took_gb": free - setup.clock.free_gigabytes(),
        "graphs": info.cuda_graphs_reason,
        "gigabytes_per_frame": size,
    }


def one_row(setup: Setup, name: str) -> dict[str, Any]:
    """Compare one row with the plain package: its steps run, and replayed."""
    engine = setup.models.engine(name)
    info = engine.info()
    frames = 6 if setup.models.is_miniature else 24
    package = TimedPackage(
        str(setup.models.folder / name),
        device=info.device,
        dtype=info.dtype,
        attention=info.attention,
        reference=reference(),
        transcript=TRANSCRIPT,
    )
    runs = [package.run(TEXTS[0][1], frames) for _ in range(2)][1:]
    of_package = max(run.frames / run.language_seconds for run in runs)
    whole_package = max(run.frames / run.seconds for run in runs)
    del package
    run = median(_frame_laps(setup, engine, 1, None, frames // 2))
    laps = _frame_laps(setup, engine, 1, engine.graphs, 6 * frames)
    replayed = median(laps)
    limit = setup.report.figures.get(f"{name} limit ms", 0.0)
    setup.report.figures[f"{name} package ms"] = 1_000 / of_package
    setup.report.figures[f"{name} frame ms"] = replayed
    setup.report.figures[f"{name} run frame ms"] = run
    whole = _whole_request(setup.models, engine)
    setup.report.line(
        f"{name} one row",
        f"package {of_package:.1f} frames/s; ours run {1_000 / run:.1f}; replayed "
        f"{1_000 / replayed:.1f} ({replayed:.2f} ms, at most {max(laps):.2f}; "
        f"{FRAME_MILLISECONDS / replayed:.1f} times real time, "
        f"{limit / replayed:.0%} of the limit)",
    )
    setup.report.line(
        f"{name} one whole request, prompt and codec included",
        f"{whole:.1f} frames/s (package: {whole_package:.1f})",
    )
    return {
        "package_language": of_package,
        "package_whole": whole_package,
        "run_ms": run,
        "replayed_ms": replayed,
        "largest_ms": max(laps),
        "whole": whole,
    }


def many_rows(setup: Setup, name: str, sizes: Sequence[int]) -> dict[str, Any]:
    """Measure rows that speak together: the language model, with the codec, and products alone."""
    engine = setup.models.engine(name)
    found: dict[str, Any] = {}
    for rows in sizes:
        if rows > engine.rows:
            setup.report.line(f"{name} {rows:2d} rows", f"there is room for {engine.rows} only")
            continue
        frames = 6 if setup.models.is_miniature else 40
        language = median(_frame_laps(setup, engine, rows, engine.graphs, frames))
        pipeline = _with_codec(setup.models, engine, rows, frames)
        products = _products(engine, setup.clock, rows)
        speech = rows * FRAME_MILLISECONDS / pipeline["mean_ms"]
        found[str(rows)] = {"language_ms": language, "products_ms": products, **pipeline}
        setup.report.figures[f"{name} {rows} rows, seconds of speech a second"] = speech
        setup.report.line(
            f"{name} {rows:2d} rows",
            f"{language:.2f} ms a frame (products alone {products:.2f}), with the codec "
            f"{pipeline['mean_ms']:.2f} on average, {pipeline['largest_ms']:.1f} at most: "
            f"{speech:.0f} seconds of speech a second",
        )
    return found


def long_row(setup: Setup, name: str) -> dict[str, Any]:
    """Decode a row beyond a captured size: whether its time changes, and whether memory moves."""
    engine = setup.models.engine(name)
    batch, (row,) = batch_of(engine, [setup.models.request(engine)], engine.graphs, repeat_prompt=6)
    decode_until_all_speak(batch, 1)
    size = 512
    while row.length > size:
        size += 256
    memory = setup.clock.free_gigabytes()
    for _ in range(max(0, size - row.length - 16)):
        batch.decode_step()
        batch.next_codes()
    laps = _laps(setup.clock, batch, 32)
    before, after = median(laps[:12]), median(laps[-12:])
    grown = memory - setup.clock.free_gigabytes()
    setup.report.line(
        f"{name} a row passes {size} positions",
        f"{before:.2f} ms a frame, then {after:.2f}, at most {max(laps):.2f}; "
        f"{grown:.2f} GB more memory",
    )
    return {"before_ms": before, "after_ms": after, "largest_ms": max(laps), "grown_gb": grown}


def profiles(setup: Setup, name: str) -> dict[str, Any]:
    """Look at the kernels of a frame: replayed with one row and with 16, and run with one."""
    engine = setup.models.engine(name)
    found: dict[str, Any] = {}
    ways: list[tuple[str, int, StepGraphs | None]] = [
        ("replayed, 1 row", 1, engine.graphs),
        ("replayed, 16 rows", 2 if setup.models.is_miniature else 16, engine.graphs),
        ("run, 1 row", 1, None),
    ]
    for way, rows, graphs in ways:
        requests = [setup.models.request(engine, number) for number in range(rows)]
        batch, _ = batch_of(engine, requests, graphs)
        decode_until_all_speak(batch, rows)

        def frame(batch: Any = batch) -> None:
            batch.decode_step()
            batch.next_codes()

        for _ in range(_WARM_FRAMES):
            frame()
        each = found[way] = setup.clock.kernels(frame)
        setup.report.line(
            f"{name} kernels of a frame, {way}",
            f"{each['kernels']}: {each['busy_ms']:.2f} ms busy, {each['gaps_ms']:.2f} ms gaps, "
            f"{each['wall_ms']:.2f} ms by the clock",
        )
        for kernel, count, microseconds in each["longest"]:
            print(f"      {microseconds:7d} us {count:5d} x {kernel}", flush=True)  # noqa: T201
    return found


def _why_not_captured(step: DecodeStep) -> str:
    """Capture the smallest step once more, and tell what fails: an engine keeps its type only."""
    try:
        CudaGraphRecorder(is_urgent=True)(partial(step.run, 1, 512))
    except Exception:  # noqa: BLE001 - that is the question
        return traceback.format_exc()
    return "it can be captured now"


def _gigabytes_per_frame(engine: Engine) -> float:
    talker = engine.package_model.model.talker
    return sum(part.bytes_per_frame for part in parts_of(talker)) / 1e9


def _frame_laps(
    setup: Setup, engine: Engine, rows: int, graphs: StepGraphs | None, frames: int
) -> list[float]:
    """The milliseconds of each frame of some rows, without the codec."""
    requests = [setup.models.request(engine, number) for number in range(rows)]
    batch, _ = batch_of(engine, requests, graphs)
    decode_until_all_speak(batch, rows)
    for _ in range(_WARM_FRAMES):
        batch.decode_step()
        batch.next_codes()
    return _laps(setup.clock, batch, max(4, frames))


def _laps(clock: Clock, batch: Any, frames: int) -> list[float]:
    clock.wait()
    times = [time.perf_counter()]
    for _ in range(frames):
        batch.decode_step()
        batch.next_codes()  # which waits for the device
        times.append(time.perf_counter())
    return [(end - start) * 1_000 for start, end in pairwise(times)]


def _whole_request(models: Models, engine: Engine) -> float:
    """The frames per second of one request, from its prompt to its samples."""
    loop = engine.open(1)
    wanted = (24 if models.is_miniature else 144) * SAMPLES_A_FRAME
    began = time.perf_counter()
    loop.add(models.request(engine))
    samples = 0
    while samples < wanted:
        samples += sum(len(chunk.samples) for chunk in loop.step())
    return samples / SAMPLES_A_FRAME / (time.perf_counter() - began)


def _with_codec(models: Models, engine: Engine, rows: int, frames: int) -> dict[str, float]:
    """The milliseconds of a step of the whole loop, once all rows have had their short chunks."""
    loop = engine.open(rows)
    for number in range(rows):
        loop.add(models.request(engine, number))
    heard: dict[int, int] = {}
    while len(heard) < rows or min(heard.values()) < _SHORT_CHUNK_FRAMES * SAMPLES_A_FRAME:
        for chunk in loop.step():
            heard[chunk.row] = heard.get(chunk.row, 0) + len(chunk.samples)
    times = [time.perf_counter()]
    for _ in range(2 * frames):  # whole chunks: four on a CPU, ten on a GPU
        list(loop.step())
        times.append(time.perf_counter())
    laps = [(end - start) * 1_000 for start, end in pairwise(times)]
    return {"mean_ms": sum(laps) / len(laps), "median_ms": median(laps), "largest_ms": max(laps)}


def _products(engine: Engine, clock: Clock, rows: int) -> float:
    """The milliseconds of a frame's matrix products, if there were nothing else to do."""
    talker = engine.package_model.model.talker
    predictor = talker.code_predictor
    turns = len(predictor.lm_head)

    def matrices(module: Any) -> list[Any]:
        return [each for each in module.parameters() if each.dim() == 2]  # noqa: PLR2004

    plan = [
        *matrices(talker.model.layers),
        talker.codec_head.weight,
        *matrices(predictor.model.layers) * turns,
        *(head.weight for head in predictor.lm_head),
    ]
    inputs = {
        each.shape[1]: torch.randn(rows, each.shape[1], device=each.device, dtype=each.dtype)
        for each in plan
    }

    @torch.inference_mode()
    def work() -> None:
        for weight in plan:
            inputs[weight.shape[1]] @ weight.t()

    if not clock.is_gpu:
        return clock.milliseconds(work, 1)
    work()
    clock.wait()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return clock.milliseconds(graph.replay)
