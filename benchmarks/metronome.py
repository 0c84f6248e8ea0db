"""Measures the timer jitter of the machine, with a separate process that only sleeps."""

from __future__ import annotations

import multiprocessing
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from types import TracebackType

TICK_SECONDS = 0.02


class Metronome:
    """Ticks while the block runs.

    Attributes:
        jitter: For each tick, how far the time since the previous tick was from 20 ms, in ms. Empty
            until the block ends.
    """

    def __init__(self) -> None:
        self.jitter: list[float] = []
        spawn = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(target=_tick, args=(theirs,))

    def __enter__(self) -> Self:
        self._process.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pipe.send(None)
        self.jitter = self._pipe.recv()
        self._process.join()


def _tick(pipe: Connection) -> None:
    jitter: list[float] = []
    before = time.perf_counter()
    due = before + TICK_SECONDS
    while not pipe.poll():
        time.sleep(max(0.0, due - time.perf_counter()))
        now = time.perf_counter()
        jitter.append(abs(now - before - TICK_SECONDS) * 1_000)
        before, due = now, due + TICK_SECONDS
    pipe.send(jitter)
