"""Measure playback in voice channels: `python -m benchmarks.voice`.

One bot process plays speech in 1, 5 and 20 guilds at once, from a synthetic backend, to a loopback
voice server in another process. Latency and jitter are computed from the packets' arrival times.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from benchmarks.measuring import describe_machine, table
from benchmarks.voice_run import measure

ROUNDS = {1: 16, 5: 6, 20: 4}
"""How many rounds are measured with each number of guilds."""

TARGETS = (
    (20, "overhead_p50_ms", 60.0),
    (20, "overhead_p99_ms", 150.0),
    (5, "jitter_p99_ms", 5.0),
    (20, "underruns", 0.0),
    (20, "loop_delay_p99_ms", 20.0),
)
"""A number of guilds, a figure, and the limit that the figure should not exceed."""


def main() -> None:
    """Measure, and print a table; with --json, print one JSON object after it."""
    options = _options()
    runs = {guilds: _in_new_process(guilds, ROUNDS[guilds]) for guilds in options.guilds}
    report = {
        "machine": describe_machine(),
        "guilds": {str(guilds): figures for guilds, figures in runs.items()},
        "targets": [
            {"guilds": guilds, "figure": name, "limit": limit, "met": runs[guilds][name] <= limit}
            for guilds, name, limit in TARGETS
            if guilds in runs
        ],
    }
    print(_summary(report))  # noqa: T201 - a command-line program
    if options.json:
        print(json.dumps(report))  # noqa: T201 - as above


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.voice", description=__doc__)
    parser.add_argument(
        "--guilds",
        type=int,
        nargs="+",
        choices=ROUNDS,
        default=list(ROUNDS),
        help="how many speak at once (default: 1, then 5, then 20)",
    )
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    return parser.parse_args()


def _in_new_process(guilds: int, rounds: int) -> dict[str, float]:
    """Measure in a new process, so that its memory use is comparable."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as process:
        return process.submit(measure, guilds, rounds).result()


def _summary(report: dict[str, Any]) -> str:
    runs = report["guilds"]
    names = next(iter(runs.values()))
    rows = [[name, *(f"{figures[name]:.1f}" for figures in runs.values())] for name in names]
    missed = [
        f"{target['figure']} with {target['guilds']} guilds is above {target['limit']:g}"
        for target in report["targets"]
        if not target["met"]
    ]
    verdict = "\n".join(missed) or "Every target is met."
    return f"{report['machine']}\n\n{table(['guilds', *runs], rows)}\n\n{verdict}"


if __name__ == "__main__":
    main()
