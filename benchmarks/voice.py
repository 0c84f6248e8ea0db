"""Measure playback in voice channels: `python -m benchmarks.voice`.

With --modes: every fault in every mode of the loopback voice server, healthy connections and a
storm.

Otherwise one bot process plays speech in 1, 5 and 20 guilds at once, from a synthetic backend, to a
loopback voice server in another process. Latency and jitter are computed from the packets' arrival
times.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from typing import Any

from benchmarks.measuring import describe_machine, table
from benchmarks.voice_modes import measure_modes
from benchmarks.voice_run import measure
from benchmarks.voice_tally import summary
from tests.support.voice_server.modes import MODES

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
    if options.modes is not None:
        sys.exit(_measure_modes(options))
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
    parser.add_argument(
        "--modes",
        nargs="*",
        choices=MODES,
        metavar="MODE",
        help="run faults, healthy connections and a storm in these modes (default: all)",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=10.0,
        help="how long healthy connections last (default: 10)",
    )
    parser.add_argument(
        "--storm-minutes", type=float, default=10.0, help="how long the storm lasts (default: 10)"
    )
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    return parser.parse_args()


def _measure_modes(options: argparse.Namespace) -> int:
    """Run everything in the chosen modes, and print a table; return 1 if anything is wrong."""
    tallies = measure_modes(
        modes=options.modes or list(MODES),
        minutes=options.minutes,
        storm_minutes=options.storm_minutes,
        say=lambda words: print(words, file=sys.stderr, flush=True),  # noqa: T201 - as above
    )
    print(f"{describe_machine()}\n\n{summary(tallies)}")  # noqa: T201 - as above
    if options.json:
        print(json.dumps({mode: asdict(tally) for mode, tally in tallies.items()}))  # noqa: T201
    return 0 if all(tally.is_good for tally in tallies.values()) else 1


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
