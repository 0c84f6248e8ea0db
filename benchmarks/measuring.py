"""Helpers of the benchmarks: comparing, timing, naming the machine, and formatting tables."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def compare(repeats: int, contestants: Mapping[str, Callable[[], float]]) -> dict[str, float]:
    """Measure all contestants alternately, so that a slow minute of the machine affects all.

    Args:
        repeats: How often each is measured.
        contestants: Functions that each return a measurement.

    Returns:
        The median of each.
    """
    measured: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(repeats):
        for name, measure in contestants.items():
            measured[name].append(measure())
    return {name: median(values) for name, values in measured.items()}


def seconds_of(work: Callable[[], object]) -> float:
    """Measure how long something takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def describe_machine() -> str:
    """Name the processor, the number of cores that this process may use, and Python's version."""
    cores = len(os.sched_getaffinity(0))
    return f"{_processor()}, {cores} cores, Python {platform.python_version()}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a table in Markdown."""
    cells = [heading, *rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heading))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])
