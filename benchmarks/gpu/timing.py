"""Times work on a device, and looks at its kernels."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

import torch
from torch.profiler import ProfilerActivity, profile

if TYPE_CHECKING:
    from collections.abc import Callable

_MILLISECONDS = 1_000
_NAME_LENGTH = 90
_MOST_KERNELS = 16


@dataclass(frozen=True, slots=True)
class Clock:
    """Times work on a device.

    Attributes:
        device: The device.
    """

    device: torch.device

    @property
    def is_gpu(self) -> bool:
        """Whether the device is a GPU."""
        return self.device.type == "cuda"

    def wait(self) -> None:
        """Wait until the device has done all that it was given."""
        if self.is_gpu:
            torch.cuda.synchronize(self.device)

    def milliseconds(self, work: Callable[[], object], repeats: int = 10) -> float:
        """Return the median time of some work until the device has done it, after a first call."""
        work()
        self.wait()
        laps = []
        for _ in range(repeats):
            began = time.perf_counter()
            work()
            self.wait()
            laps.append((time.perf_counter() - began) * _MILLISECONDS)
        return median(laps)

    def free_gigabytes(self) -> float:
        """Return how much memory of a GPU is free."""
        return torch.cuda.mem_get_info(self.device)[0] / 1e9 if self.is_gpu else 0.0

    def kernels(self, work: Callable[[], object]) -> dict[str, Any]:
        """Return what runs on the device during some work: how often, how long, and the gaps."""
        work()
        self.wait()
        kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if self.is_gpu else [])]
        with profile(activities=kinds) as seen:
            began = time.perf_counter()
            work()
            self.wait()
            wall = time.perf_counter() - began
        wanted = "CUDA" if self.is_gpu else "CPU"
        spans = sorted(
            (event.time_range.start, event.time_range.end, event.name)
            for event in seen.events()
            if str(event.device_type).endswith(wanted)
        )
        busy, reached = 0.0, 0.0
        taken: dict[str, list[float]] = {}
        for start, end, name in spans:
            busy += max(0.0, end - max(start, reached))
            reached = max(reached, end)
            taken.setdefault(name[:_NAME_LENGTH], []).append(end - start)
        whole = reached - spans[0][0] if spans else 0.0
        longest = sorted(taken.items(), key=lambda each: -sum(each[1]))[:_MOST_KERNELS]
        return {
            "kernels": len(spans),
            "busy_ms": busy / _MILLISECONDS,
            "gaps_ms": (whole - busy) / _MILLISECONDS,
            "wall_ms": wall * _MILLISECONDS,
            "longest": [[name, len(each), round(sum(each))] for name, each in longest],
        }
