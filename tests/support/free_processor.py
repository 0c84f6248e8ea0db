"""Waits until the processors have time for a test that measures by the clock."""

from __future__ import annotations

import os
import time
from pathlib import Path

from filelock import FileLock

FREE_CORES = 0.5
"""What such a test takes at most when it starts. Most of the time it waits."""

WINDOW_SECONDS = 0.2
PATIENCE_SECONDS = 30.0
"""After this a test begins all the same, on a machine that is never free."""

_STATISTICS = Path("/proc/stat")
_NICE, _IDLE, _WAITING = 1, 3, 4  # https://man7.org/linux/man-pages/man5/proc_stat.5.html


def wait_for_processor(folder: Path) -> None:
    """Return when the processors have been free for a moment; at once where that can't be seen.

    What runs at a lower priority takes no time from a test, so it counts as free. One process after
    the other looks, so each sees what the test before takes.

    Args:
        folder: Shared by all processes that run tests.
    """
    if not _STATISTICS.exists():
        return
    with FileLock(folder / "processor.lock"):
        end = time.monotonic() + PATIENCE_SECONDS
        while _free_cores() < FREE_CORES and time.monotonic() < end:
            pass


def _free_cores() -> float:
    before = _ticks()
    time.sleep(WINDOW_SECONDS)
    passed = [after - earlier for earlier, after in zip(before, _ticks(), strict=True)]
    free = passed[_NICE] + passed[_IDLE] + passed[_WAITING]
    return free / max(1, sum(passed)) * (os.cpu_count() or 1)


def _ticks() -> list[int]:
    """The times that all processors together have spent on each kind of work since they started."""
    everything = _STATISTICS.read_text("ascii").splitlines()[0]
    return [int(each) for each in everything.split()[1:9]]  # later ones are parts of these
