"""Modes of the loopback voice server side by side: healthy connections, all faults, the storm."""

from __future__ import annotations

import asyncio
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmarks.voice_faults import FAULTS, faults_in_modes
from benchmarks.voice_health import healthy_lines
from benchmarks.voice_tally import Tally
from bot.log import configure_logging
from bot.settings import Settings
from tests.playback.storm import storm

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence
    from concurrent.futures import Future

PROCESSES = 4
"""How many bots run side by side. Most of the time they wait."""

CASES_AT_ONCE = 6
"""How many faults one bot has at once, each in a guild of its own."""

Tallies = dict[str, Tally]


def measure_modes(
    *, modes: Sequence[str], minutes: float, storm_minutes: float, say: Callable[[str], None]
) -> Tallies:
    """Run everything in these modes; return what was found in each.

    Args:
        modes: Names of modes of the voice server.
        minutes: How long a healthy line lasts; 0 for none.
        storm_minutes: How long the storm lasts; 0 for none.
        say: Is told what is being done.
    """
    found = {mode: Tally() for mode in modes}
    groups = [list(modes[start::PROCESSES]) for start in range(min(PROCESSES, len(modes)))]
    cases = [(mode, fault) for fault in FAULTS for mode in modes]
    batches = [cases[at : at + CASES_AT_ONCE] for at in range(0, len(cases), CASES_AT_ONCE)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, mp_context=context) as pool:
        if minutes:
            say(f"healthy connections, {minutes:g} minutes")
            _collect(found, [pool.submit(_healthy, group, 60 * minutes) for group in groups])
        say(f"{len(FAULTS)} faults in {len(modes)} modes")
        _collect(found, [pool.submit(_faults, batch) for batch in batches])
        if storm_minutes:
            say(f"the storm, {storm_minutes:g} minutes")
            _collect(found, [pool.submit(_storm, group, 60 * storm_minutes) for group in groups])
    return found


def _collect(found: Tallies, running: Iterable[Future[Tallies]]) -> None:
    for future in running:
        for mode, tally in future.result().items():
            found[mode].add(tally)


def _healthy(modes: Sequence[str], seconds: float) -> Tallies:
    return _run(lambda folder: healthy_lines(folder, modes, seconds=seconds))


def _faults(cases: Sequence[tuple[str, str]]) -> Tallies:
    return _run(lambda folder: faults_in_modes(folder, cases))


def _storm(modes: Sequence[str], seconds: float) -> Tallies:
    return _run(lambda folder: _storm_tallies(folder, modes, seconds))


async def _storm_tallies(folder: Path, modes: Sequence[str], seconds: float) -> Tallies:
    reports = await storm(folder, seconds=seconds, seed=1, modes=modes)
    return {
        mode: Tally(
            faulty=report.items,
            heard=report.heard,
            told=report.told.total(),
            lost=len(report.lost),
            twice=report.most_repeated,
            elsewhere=len(report.misplaced),
            unnoticed=report.unnoticed,
            stories=[f"storm: {s}" for s in report.lost + report.repeated + report.misplaced],
        )
        for mode, report in reports.items()
    }


def _run(work: Callable[[Path], Coroutine[None, None, Tallies]]) -> Tallies:
    configure_logging(Settings(_env_file=None, log_level="ERROR"))
    with TemporaryDirectory() as folder:
        return asyncio.run(work(Path(folder)))
