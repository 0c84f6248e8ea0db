"""Containers that start from one memory snapshot don't draw the same random numbers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def drawn_by_four_copies() -> list[dict[str, float]]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.restored_process"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_copies_of_a_process_draw_the_same_only_until_their_state_is_renewed() -> None:
    one, other, renewed, other_renewed = drawn_by_four_copies()
    same = {name for name in one if one[name] == other[name]}
    assert same == {"numpy", "torch", "a seeded row"}, "which is what renewing is for"
    same = {name for name in renewed if renewed[name] == other_renewed[name]}
    assert same == {"a seeded row"}
