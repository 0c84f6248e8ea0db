"""Measure the decode loop against its targets: `python -m benchmarks.decoder`.

It is compared with the plain qwen-tts package. Both have the same weights and run in one process,
alternately. On the miniature, matrix products take almost no time, so everything around them is
compared. On random weights of the published 0.6B model's shape, reading the weights takes most of
the time.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.decoding.checkpoints import PLANS
from benchmarks.decoding.memory_limit import gpu_limits
from benchmarks.decoding.run import measure
from benchmarks.measuring import describe_machine, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Target:
    """A target for a figure of the report.

    Attributes:
        model: The model that the figure is measured on.
        figure: The figure's path in the report, such as "callers.8.ratio".
        limit: The number that the figure is compared with.
        is_least: Whether the figure should be at least the limit; otherwise at most.
    """

    model: str
    figure: str
    limit: float
    is_least: bool = False


TARGETS = (
    Target("miniature", "one_request.language_ratio", 2.5, is_least=True),
    Target("true-shape", "one_request.language_ratio", 1.35, is_least=True),
    Target("true-shape", "limit.share.matvec", 0.8, is_least=True),
    Target("true-shape", "formats.to_package", 5.0, is_least=True),
    Target("true-shape", "formats.to_float32", 2.8, is_least=True),
    Target("true-shape", "formats.int8.limit_share", 0.6, is_least=True),
    Target("miniature", "callers.8.ratio", 6.0, is_least=True),
    Target("miniature", "callers.16.ratio", 8.0, is_least=True),
    # 5 % for measurement error: the first chunk and its parts are not measured in the same run.
    Target("miniature", "first_chunk.ratio", 1.05),
    Target("true-shape", "first_chunk.ratio", 1.05),
    Target("miniature", "first_chunk_in_company.ratio", 2.0),
    *(
        Target(model, f"codec.{seconds}.ratio", 1.3)
        for model, plan in PLANS.items()
        for seconds in plan.codec_seconds
    ),
)


def main() -> None:
    """Measure, and print tables; with --json, print one JSON object after them."""
    options = _options()
    models = {model: _in_new_process(model) for model in options.model}
    report = {
        "machine": f"{describe_machine()}, torch {torch.__version__}",
        "models": models,
        "targets": judge(models, TARGETS),
        "gpu_limits": gpu_limits(),
    }
    print(_summary(report))  # noqa: T201 - a command-line program
    if options.json:
        print(json.dumps(report))  # noqa: T201 - as above


def judge(models: Mapping[str, Any], targets: Sequence[Target]) -> list[dict[str, Any]]:
    """Compare the measured figures with their targets.

    Args:
        models: The figures of each model.
        targets: The targets; those for models or parts of the report that were not measured are
            skipped.

    Returns:
        Each target with its "value", and whether it is "met".
    """
    verdicts = []
    for target in targets:
        if target.figure.partition(".")[0] in models.get(target.model, ()):
            value = dict(flatten(models[target.model]))[target.figure]
            is_met = value >= target.limit if target.is_least else value <= target.limit
            verdicts.append({**asdict(target), "value": value, "met": is_met})
    return verdicts


def flatten(figures: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Yield the numbers of a nested report, each with its path: "callers.8.ratio"."""
    for name, value in figures.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{name}.")
        elif isinstance(value, float):
            yield f"{prefix}{name}", value


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decoder", description=__doc__)
    parser.add_argument(
        "--model",
        nargs="+",
        default=list(PLANS),
        help=f"{' or '.join(PLANS)} (random weights, made on the spot), or a checkpoint's folder "
        "(default: both of the former)",
    )
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    return parser.parse_args()


def _in_new_process(model: str) -> dict[str, Any]:
    """Measure in a new process, with its own threads and memory."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as process:
        return process.submit(measure, model).result()


def _summary(report: dict[str, Any]) -> str:
    sections = [report["machine"]]
    for name, figures in report["models"].items():
        rows = [[figure, f"{value:.2f}"] for figure, value in flatten(figures)]
        sections += [f"{name}: {figures['setting']}", table(["figure", "value"], rows)]
        if "limit" in figures:
            sections.append(_arithmetic(figures["limit"]))
    sections += [_gpu_table(report["gpu_limits"]), _verdicts(report["targets"])]
    return "\n\n".join(sections)


def _arithmetic(limit: dict[str, Any]) -> str:
    """Format the weights that a frame reads, and the time for that at each measured rate."""
    size = limit["gigabytes_per_frame"]
    read = "\n".join(
        f"{part['times']:>4} x {part['megabytes']:8.1f} MB  {part['name']}"
        for part in limit["parts"]
    )
    taken = "\n".join(
        f"{size:.2f} GB / {rate:.1f} GB/s ({name}) = {size / rate * 1_000:.0f} ms a frame, "
        f"{limit['share'][name]:.0%} of the {limit['frame_ms']:.0f} ms it takes"
        for name, rate in limit["gigabytes_per_second"].items()
    )
    return f"A frame reads\n{read}\n{taken}"


def _gpu_table(limits: Sequence[dict[str, Any]]) -> str:
    """Format the limits of GPUs. They are computed, not measured."""
    rows = [
        [
            limit["checkpoint"],
            limit["gpu"],
            limit["dtype"],
            f"{limit['gigabytes_per_frame']:.2f} GB",
            f"{limit['milliseconds_per_frame']:.1f} ms",
            f"{limit['times_real_time']:.0f}",
        ]
        for limit in limits
    ]
    heading = ["checkpoint", "GPU", "numbers", "read a frame", "at least", "times real time"]
    return table(heading, rows)


def _verdicts(targets: Sequence[dict[str, Any]]) -> str:
    return "\n".join(
        f"{'met    ' if target['met'] else 'not met'}  {target['model']} {target['figure']}: "
        f"{target['value']:.2f}, wanted at {'least' if target['is_least'] else 'most'} "
        f"{target['limit']:g}"
        for target in targets
    )


if __name__ == "__main__":
    main()
