"""Makes speech faster or slower, at the same pitch."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np
from av.error import BlockingIOError as NeedsMoreError
from av.error import EOFError as EndedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_SPEED = 0.25
MAX_SPEED = 4.0
"""The slowest and the fastest speech that is still speech."""

_LEAST_OF_ONE_FILTER = 0.5
"""ffmpeg's `atempo` takes 0.5 to 100, and says that several in a row make it slower.
https://ffmpeg.org/ffmpeg-filters.html#atempo"""


class Tempo:
    """Changes the speed of a stream of samples by ffmpeg's `atempo`.

    The filter looks some 80 ms ahead.

    Args:
        sample_rate: In Hz.
        speed: How many times as fast, from `MIN_SPEED` to `MAX_SPEED`.

    Raises ValueError for another speed.
    """

    def __init__(self, sample_rate: int, speed: float) -> None:
        if not MIN_SPEED <= speed <= MAX_SPEED:
            raise ValueError(f"a speed is from {MIN_SPEED} to {MAX_SPEED}")
        self._sample_rate = sample_rate
        self._pushed = 0
        self._begun = False
        self._only: list[NDArray[np.int16]] = []
        self._graph = av.filter.Graph()
        source = self._graph.add_abuffer(
            format="s16", layout="mono", sample_rate=sample_rate, time_base=Fraction(1, sample_rate)
        )
        filters = [self._graph.add("atempo", f"{each:f}") for each in _steps(speed)]
        self._graph.link_nodes(source, *filters, self._graph.add("abuffersink")).configure()

    def push(self, pcm: bytes) -> bytes:
        """Take mono s16le samples; return those that are ready, maybe none."""
        samples = np.frombuffer(pcm, np.int16)
        if not len(samples):
            return b""
        frame = av.AudioFrame.from_ndarray(samples[np.newaxis], format="s16", layout="mono")
        frame.sample_rate, frame.pts = self._sample_rate, self._pushed
        frame.time_base = Fraction(1, self._sample_rate)
        self._pushed += len(samples)
        self._graph.push(frame)
        ready = self._pull()
        self._begun = self._begun or bool(ready)
        if self._begun:
            self._only.clear()
        else:
            self._only.append(samples)
        return ready

    def finish(self) -> bytes:
        """Return the last samples. No more may be pushed then.

        Of less than 80 ms the filter gives nothing. They are returned as they are.
        """
        self._graph.push(None)
        rest = self._pull()
        return rest or b"".join(samples.tobytes() for samples in self._only)

    def _pull(self) -> bytes:
        ready: list[bytes] = []
        while True:
            try:
                frame = self._graph.pull()
            except (NeedsMoreError, EndedError):
                return b"".join(ready)
            ready.append(frame.to_ndarray().tobytes())


def _steps(speed: float) -> list[float]:
    """Return what several filters in a row change, so that each takes it."""
    steps = []
    while speed < _LEAST_OF_ONE_FILTER:
        steps.append(_LEAST_OF_ONE_FILTER)
        speed /= _LEAST_OF_ONE_FILTER
    return [*steps, speed]
