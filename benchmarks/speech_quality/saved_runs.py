"""Runs of one setting, as files, to be compared with a later run."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.speech_quality.errors import CannotMeasureError
from benchmarks.speech_quality.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Run:
    """What came of one setting.

    Attributes:
        setting: The setting, as it was written.
        verdicts: What was found in each speech.
    """

    setting: str
    verdicts: Sequence[Verdict]


def write_run(run: Run, file: Path) -> None:
    """Write a run as JSON."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(asdict(run), ensure_ascii=False, indent=1), encoding="utf-8")


def read_run(file: Path) -> Run:
    """Read a run that `write_run` wrote. Raises `CannotMeasureError` if it is none."""
    try:
        stored: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return Run(stored["setting"], [Verdict(**verdict) for verdict in stored["verdicts"]])
    except (OSError, UnicodeDecodeError, LookupError, TypeError, json.JSONDecodeError) as error:
        raise CannotMeasureError(f"{file} is no saved run ({type(error).__name__})") from error
