"""Containers that start from one memory snapshot don't draw the same random numbers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def drawn_by_two_copies(*arguments: str) -> list[dict[str, float]]:
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-m", "tests.support.restored_process", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_copies_of_a_process_draw_the_same_only_until_their_state_is_renewed() -> None:
    one, other = drawn_by_two_copies()
    same = {name for name in one if one[name] == other[name]}
    assert same == {"numpy", "torch", "a seeded row"}, "which is what renewing is for"
    one, other = drawn_by_two_copies("renewed")
    assert {name for name in one if one[name] == other[name]} == {"a seeded row"}
