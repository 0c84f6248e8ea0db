"""What every measurement needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.gpu.models import Models
    from benchmarks.gpu.report import Report
    from benchmarks.gpu.timing import Clock


@dataclass(frozen=True, slots=True)
class Setup:
    """A run of the benchmark.

    Attributes:
        models: The checkpoints, and the engine that is loaded.
        clock: Times work on the device.
        report: Takes the figures and the lines of the table.
    """

    models: Models
    clock: Clock
    report: Report
