"""The steps of the benchmark, each guarded: one that fails does not stop the others."""

from __future__ import annotations

import gc
import json
import time
import traceback
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

_TRACE_LINES = 14


class Report:
    """What was measured, written to a file after every step.

    Args:
        file: A JSON file.
        seconds: No step begins after so many.
        only: Only steps whose names contain one of these words; empty for all.
        skipped: The names of steps that were done before.

    Attributes:
        steps: What each step found, by name.
        figures: The figures that have targets, and a few more.
        is_lost: Whether this process cannot use its GPU any more.
    """

    def __init__(
        self,
        file: Path,
        *,
        seconds: float,
        only: Collection[str] = (),
        skipped: Collection[str] = (),
    ) -> None:
        self.steps: dict[str, dict[str, Any]] = {}
        self.figures: dict[str, float] = {}
        self.is_lost = False
        self._lines: list[tuple[str, str]] = []
        self._file = file
        self._seconds = seconds
        self._only = only
        self._skipped = skipped
        self._began = time.perf_counter()

    def remaining(self) -> float:
        """Return how many seconds are left in which a step may begin."""
        return self._seconds - (time.perf_counter() - self._began)

    def step(
        self,
        name: str,
        work: Callable[[], dict[str, Any]],
        *,
        needs: float = 5.0,
        is_needed: bool = False,
    ) -> bool:
        """Do a step, unless it was not asked for or time is short.

        Args:
            name: Its name.
            work: Does it, and returns what it has found.
            needs: How many seconds it takes.
            is_needed: Whether others need it, so that it is done whatever was asked for.

        Returns:
            Whether it was done, and has not failed.
        """
        is_wanted = is_needed or not self._only or any(word in name for word in self._only)
        if not is_wanted or self.is_lost or (name in self._skipped and not is_needed):
            return False
        if self.remaining() < needs:
            self._note(name, {"error": "there was no time for it"})
            return False
        self.say(f"--- {name}")
        began = time.perf_counter()
        try:
            found = work()
        except Exception as error:  # noqa: BLE001 - the next step may well work
            found = {"error": f"{type(error).__name__}: {error}"}
            print(*traceback.format_exc().splitlines()[-_TRACE_LINES:], sep="\n", flush=True)  # noqa: T201
            self.is_lost = not _gpu_works()
        _free_memory()
        self._note(name, {**found, "step_seconds": round(time.perf_counter() - began, 1)})
        return "error" not in found

    def line(self, what: str, value: str) -> None:
        """Add a line to the table at the end, and print it now."""
        self._lines.append((what, value))
        self.say(f"{what}: {value}")

    def say(self, words: str) -> None:
        """Print a line, with the time."""
        seconds = time.perf_counter() - self._began
        print(f"[{seconds:6.1f} s] {words}", flush=True)  # noqa: T201 - a command-line program

    def lines(self) -> list[list[str]]:
        """Return the table's rows."""
        return [list(each) for each in self._lines]

    def failed(self) -> list[str]:
        """Return the names of the steps that have failed."""
        return [name for name, found in self.steps.items() if "error" in found]

    def _note(self, name: str, found: dict[str, Any]) -> None:
        self.steps[name] = found
        if "error" in found:
            self.say(f"FAILED {name}: {found['error'][:600]}")
        report = {"steps": self.steps, "figures": self.figures}
        self._file.write_text(json.dumps(report, default=str), encoding="utf-8")


def _gpu_works() -> bool:
    """Tell whether this process can still use its GPU: a failed assertion in a kernel ends that."""
    if not torch.cuda.is_available():
        return True
    try:
        torch.cuda.synchronize()
        torch.zeros(1, device="cuda").item()
    except Exception:  # noqa: BLE001 - that is the question
        return False
    return True


def _free_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        try:
            torch.cuda.empty_cache()
        except RuntimeError:  # which tells what `_gpu_works` has told
            return
