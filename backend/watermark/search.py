"""Searches whole recordings for the watermark, also where their speed or pitch was changed.

A change of speed that changes the pitch with it moves all frequencies, and with them the mark: it
is lost at 2 %. So where it isn't found, it is looked for at other speeds. A change of the tempo
alone leaves the mark where it is, and a change of the pitch alone moves it as the speed does.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from backend.contract import REFERENCE_SAMPLE_RATE, BackendBusyError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from numpy.typing import NDArray

    from backend.watermark.watermark import Watermarker

COARSE_PERCENT = (98, 102, 96, 104, 94, 106, 92, 108, 90, 110)
"""The other speeds, in percent: the likeliest first. The mark is found at a speed 1 % off, too."""

HINT = 0.1
"""Where the confidence is so high at a speed, the speeds 1 % beside it are tried as well."""

MAX_SEARCHES = 8
"""How many recordings are searched or wait; one more is refused."""

PIECE_SECONDS = 10
LOUDEST_PIECES = 3
"""At the other speeds, only so many pieces of a recording are searched: the loudest ones."""

_USUAL_SECONDS = 5.0
_SHORTEST_REST_SECONDS = 1


class Finding(NamedTuple):
    """What was found in a recording.

    Attributes:
        is_marked: Whether it counts as marked.
        confidence: From 0 to 1, that it is marked.
        speed: How much faster than it was made it is played, give or take 0.02.
    """

    is_marked: bool
    confidence: float
    speed: float


class WatermarkSearch:
    """Searches recordings, one at a time, in threads. To be used from one event loop.

    A search reads the whole recording at its own speed, and its loudest pieces at others, and ends
    where the mark is found. On one core it takes 4 s for three minutes, and 7 s more if nothing is
    found at any speed.

    Args:
        watermarker: Finds the mark at one speed.
    """

    def __init__(self, watermarker: Watermarker) -> None:
        self._watermarker = watermarker
        self._one_at_a_time = asyncio.Lock()
        self._searches = 0

    async def search(self, samples: NDArray[np.float32]) -> Finding:
        """Search a recording. Cancelling the call ends the search.

        Args:
            samples: Mono `(n,)` in [-1, 1] at `REFERENCE_SAMPLE_RATE`.

        Raises `BackendBusyError` if too many searches wait.
        """
        async with self._slot():
            pieces = _pieces(samples)
            tried = {100: await self._at(100, pieces)}
            loudest = sorted(pieces, key=_energy, reverse=True)[:LOUDEST_PIECES]
            for percent in COARSE_PERCENT:
                if max(tried.values()).is_marked:
                    return max(tried.values())
                tried[percent] = await self._at(percent, loudest)
            for percent in _between_hints(tried):
                if max(tried.values()).is_marked:
                    break
                tried[percent] = await self._at(percent, loudest)
            return max(tried.values())

    async def _at(self, percent: int, pieces: list[NDArray[np.float32]]) -> Finding:
        """Search pieces at one speed, up to the first that is marked."""
        speed, confidence = percent / 100, 0.0
        for piece in pieces:
            if confidence >= self._watermarker.THRESHOLD:
                break
            found = await asyncio.to_thread(self._watermarker.confidence, piece, speed=speed)
            confidence = max(confidence, found)
        return Finding(confidence >= self._watermarker.THRESHOLD, confidence, speed)

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        if self._searches >= MAX_SEARCHES:
            raise BackendBusyError(retry_after=MAX_SEARCHES * _USUAL_SECONDS)
        self._searches += 1
        try:
            async with self._one_at_a_time:
                yield
        finally:
            self._searches -= 1


def _pieces(samples: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Cut a recording into pieces. A short rest stays with the piece before it."""
    size = PIECE_SECONDS * REFERENCE_SAMPLE_RATE
    rest = _SHORTEST_REST_SECONDS * REFERENCE_SAMPLE_RATE
    starts = range(0, max(len(samples) - rest, 1), size)
    return np.split(samples, starts[1:])


def _energy(piece: NDArray[np.float32]) -> float:
    return float(np.square(piece, dtype=np.float64).sum())


def _between_hints(tried: dict[int, Finding]) -> list[int]:
    """The speeds, in percent, beside one that hints at the mark, the likeliest first."""
    sums: dict[int, float] = {}
    for percent in range(min(tried) + 1, max(tried), 2):
        beside = [tried[percent + step].confidence for step in (-1, 1)]
        if max(beside) >= HINT:
            sums[percent] = sum(beside)
    return sorted(sums, key=sums.__getitem__, reverse=True)
