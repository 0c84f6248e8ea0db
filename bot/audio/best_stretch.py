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

    More speech is better; each decibel that a stretch is fainter than the whole recording's speech
    costs as much as a second of speech, and so does each percent of clipped samples. Speech without
    a pause for longer than 20 s is cut at its faintest spot.

    Args:
        samples: `(n,)`, as recorded: what clips is told by its level.
        speech: What `SpeechDetector.find_speech` says of `samples`; some of it is True.

    Returns:
        The first window of the stretch, and the one after its last.
    """
    windows = in_windows(samples)
    power = np.square(windows).mean(axis=1, dtype=np.float64)
    clipped = (is_clipped(windows)).mean(axis=1)
    overall = decibels(power[speech].mean())
    spoken_sum, power_sum, clipped_sum = (
        np.concatenate([[0.0], np.cumsum(values * speech)])
        for values in (np.ones(len(speech)), power, clipped)
    )

    def worth(start: int, end: int) -> float:
        spoken = spoken_sum[end] - spoken_sum[start]
        level = decibels((power_sum[end] - power_sum[start]) / spoken)
        clipped_percent = 100 * (clipped_sum[end] - clipped_sum[start]) / spoken
        faint = max(0.0, overall - level)
        return float(
            spoken * WINDOW_SECONDS
            - faint * _SECONDS_PER_DECIBEL
            - clipped_percent * _SECONDS_PER_CLIPPED_PERCENT
        )

    parts = _parts(speech, power)
    stretches = (
        (start, end)
        for first, (start, _) in enumerate(parts)
        for _, end in parts[first:]
        if end - start <= _LONGEST
    )
    return max(stretches, key=lambda stretch: worth(*stretch))


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
