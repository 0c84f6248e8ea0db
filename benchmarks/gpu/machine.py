"""Names the device and its software, and measures its memory."""

from __future__ import annotations

import subprocess
from importlib import metadata
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.measuring import describe_machine

if TYPE_CHECKING:
    from benchmarks.gpu.setup import Setup

_GPU_BYTES = 2**31
_CPU_BYTES = 2**26


def environment(setup: Setup) -> dict[str, Any]:
    """Name the device, and measure how many gigabytes it reads in a second ("read_rate")."""
    clock, report = setup.clock, setup.report
    found: dict[str, Any] = {
        "machine": describe_machine(),
        "torch": torch.__version__,
        **{package: _version(package) for package in ("transformers", "qwen-tts")},
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
    }
    name = "CPU"
    if clock.is_gpu:
        name = torch.cuda.get_device_name(clock.device)
        found["gpu"] = _nvidia_smi() or name
    size = _GPU_BYTES if clock.is_gpu else _CPU_BYTES
    source = torch.empty(size, dtype=torch.uint8, device=clock.device).random_(0, 255)
    target = torch.empty_like(source)
    copied = 2 * size / clock.milliseconds(lambda: target.copy_(source)) / 1e6
    numbers = source.view(torch.int32)
    read = size / clock.milliseconds(numbers.max) / 1e6
    found |= {"copy_rate": copied, "max_rate": read, "read_rate": max(copied, read)}
    report.line("device", f"{name}, {describe_machine()}, torch {torch.__version__}")
    report.line("memory", f"copies {copied:.0f} GB/s, reads {read:.0f} GB/s")
    return found


def _version(package: str) -> str:
    try:
        return str(metadata.version(package))
    except metadata.PackageNotFoundError:
        return "unknown"


def _nvidia_smi() -> str:
    query = "name,driver_version,clocks.sm,clocks.mem,memory.total"
    try:
        return subprocess.run(  # noqa: S603 - its own program
            ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"],  # noqa: S607
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        ).stdout.strip()
    except OSError:
        return ""
