"""The part of a long recording that makes the best reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bot.audio.cleaning import decibels, is_clipped
from bot.audio.speech_activity import WINDOW_SECONDS, in_windows, runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LONGEST = round(19.5 / WINDOW_SECONDS)
"""In windows. With the margins around it, a stretch stays under 20 s."""

_SHORTEST_PART = round(10.0 / WINDOW_SECONDS)
"""How soon speech without a pause may be cut, in windows."""

_SECONDS_PER_DECIBEL = 1.0
_SECONDS_PER_CLIPPED_PERCENT = 1.0


def best_stretch(samples: NDArray[np.float32], speech: NDArray[np.bool_]) -> tuple[int, int]:
    """Choose at most 20 s with much speech, at a good level, that start and end in pauses.

    More speech is better. Each decibel that a stretch is fainter than the recording usually is
    costs as much as a second of speech, and so does each percent of clipped samples. Speech without
    a pause for longer than 20 s is cut at its faintest spot.

    Args:
        samples: `(n,)`, at the level they were recorded with.
        speech: What `SpeechDetector.find_speech` says of `samples`; some of it is True.

    Returns:
        The first window of the stretch, and the one after its last.
    """
    spoken = _SpokenWindows(samples, speech)
    parts = _parts(speech, spoken.power)
    usual_level = float(np.median([spoken.level(*part) for part in parts]))

    def worth(stretch: tuple[int, int]) -> float:
        faintness = max(0.0, usual_level - spoken.level(*stretch))
        return (
            spoken.seconds(*stretch)
            - faintness * _SECONDS_PER_DECIBEL
            - spoken.clipped_percent(*stretch) * _SECONDS_PER_CLIPPED_PERCENT
        )

    stretches = (
        (start, end)
        for first, (start, _) in enumerate(parts)
        for _, end in parts[first:]
        if end - start <= _LONGEST
    )
    return max(stretches, key=worth)


class _SpokenWindows:
    """Answers about the speech between two windows, at once for any two: by cumulative sums."""

    def __init__(self, samples: NDArray[np.float32], speech: NDArray[np.bool_]) -> None:
        windows = in_windows(samples)
        self.power = np.square(windows).mean(axis=1, dtype=np.float64)
        self._count = _cumulative(speech)
        self._power = _cumulative(self.power * speech)
        self._clipped = _cumulative(is_clipped(windows).mean(axis=1) * speech)

    def seconds(self, start: int, end: int) -> float:
        return float(self._count[end] - self._count[start]) * WINDOW_SECONDS

    def level(self, start: int, end: int) -> float:
        return decibels(self._mean(self._power, start, end))

    def clipped_percent(self, start: int, end: int) -> float:
        return 100 * self._mean(self._clipped, start, end)

    def _mean(self, sums: NDArray[np.float64], start: int, end: int) -> float:
        return float((sums[end] - sums[start]) / (self._count[end] - self._count[start]))


def _cumulative(values: NDArray[np.generic]) -> NDArray[np.float64]:
    return np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])


def _parts(speech: NDArray[np.bool_], power: NDArray[np.float64]) -> list[tuple[int, int]]:
    """The runs of speech, with those over `_LONGEST` cut at their faintest spots."""
    parts = []
    for begin, end in runs(speech).tolist():
        start = begin
        while end - start > _LONGEST:
            earliest = start + _SHORTEST_PART
            cut = earliest + int(np.argmin(power[earliest : start + _LONGEST]))
            parts.append((start, cut))
            start = cut
        parts.append((start, end))
    return parts
