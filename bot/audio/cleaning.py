"""Processes a decoded recording: finds its best stretch, and scales it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import soxr
from numpy.lib.stride_tricks import sliding_window_view

from backend.contract import REFERENCE_SAMPLE_RATE
from bot.audio.flaws import decibels, is_clipped
from bot.audio.repair import loud_level, repair
from bot.audio.speech_activity import WINDOW_SECONDS, in_windows, runs
from bot.audio.trimming import is_too_short
from bot.errors import Reason, Refusal

if TYPE_CHECKING:
    from numpy.typing import NDArray

SPEECH_LEVEL = -23.0
"""The level that clips are scaled to: RMS of the windows with speech, in dBFS."""

PEAK_CEILING = -1.0
"""The highest peak of a clip, in dBFS. What would exceed it is limited."""

_LOUD_PERCENTILE = 90
"""Windows with more than twice the power of this percentile don't count more for the level."""

_RUMBLE = 35.0
"""In Hz. What is below is no voice."""

_RUMBLE_RATE = 400
"""In Hz. The sample rate at which rumble is told from the rest."""

_RUMBLE_REACH = round(0.125 * _RUMBLE_RATE)
"""How far the filter reaches to either side. A longer one is steeper, and rings after a bang."""

_RUMBLE_EDGE = REFERENCE_SAMPLE_RATE // 10
_BANG = 2.0
"""What is so many times as large as the loud sound is a bang, which has no rumble."""

_BLOCK = REFERENCE_SAMPLE_RATE // 1_000
_REACH = 3
"""A limiter's gain changes over so many blocks of a millisecond, before a peak and after it."""

_FAINTEST_PEAK = -50.0
"""In dBFS. Below it, speech is masked by the microphone's own noise and cannot be detected."""

_USUAL_VARIATION = 6.0
"""How many decibels speech may be fainter than usual before that counts against it."""

_LONGEST_STRETCH = round(19.5 / WINDOW_SECONDS)
"""The longest stretch, in windows. With its margins it stays under 20 s."""

_SHORTEST_PART = round(10.0 / WINDOW_SECONDS)
"""The shortest part, in windows, into which speech without a pause is cut."""


def condition(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Repair single bad samples, and remove integer scales, the DC offset and rumble.

    Raises `Refusal` if the recording is damaged or silent.
    """
    samples = _without_rumble(repair(samples))
    if is_too_quiet(samples):
        raise Refusal(Reason.RECORDING_SILENT)
    return samples


def is_too_quiet(samples: NDArray[np.float32]) -> bool:
    """Whether nothing in a recording is loud enough to be speech."""
    return decibels(float(np.abs(samples).max()) ** 2) < _FAINTEST_PEAK


def best_stretch(samples: NDArray[np.float32], speech: NDArray[np.bool_]) -> tuple[int, int]:
    """Find a stretch of at most 20 s that has much speech at a good level, between two pauses.

    The score of a stretch is its seconds of speech. It is reduced by one for each percent of
    clipped samples, and by one for each decibel by which its speech is fainter than usual in the
    recording. The first 6 dB don't count: all clips are brought to one level anyway. Speech of more
    than 20 s without a pause is cut where it is faintest. A stretch that is long enough for a clip
    is better than any that is not.

    Args:
        samples: `(n,)`, not scaled yet.
        speech: What `SpeechDetector.find_speech` found in `samples`; some of it is True.

    Returns:
        The first window of the stretch, and the one after its last.
    """
    windows = in_windows(samples)
    power = np.square(windows).mean(axis=1, dtype=np.float64)
    parts = _parts(speech, power)
    per_window = np.stack([np.ones(len(windows)), power, is_clipped(windows).mean(axis=1)])
    # The sum over a stretch is the difference of two cumulative sums.
    sums = np.pad(np.cumsum(per_window * speech, axis=1), ((0, 0), (1, 0)))

    def spoken(start: int, end: int) -> tuple[float, float, float]:
        """The speech in a stretch: its seconds, its level in dBFS, its percentage of clipping."""
        count, squares, clipped = sums[:, end] - sums[:, start]
        return count * WINDOW_SECONDS, decibels(squares / count), 100 * clipped / count

    usual_level = float(np.median([spoken(*part)[1] for part in parts]))

    def worth(stretch: tuple[int, int]) -> tuple[bool, float]:
        seconds, level, clipped_percent = spoken(*stretch)
        fainter = max(0.0, usual_level - level - _USUAL_VARIATION)
        return not is_too_short(seconds, stretch), seconds - fainter - clipped_percent

    stretches = (
        (start, end)
        for first, (start, _) in enumerate(parts)
        for _, end in parts[first:]
        if end - start <= _LONGEST_STRETCH
    )
    return max(stretches, key=worth)


def bring_to_level(clip: NDArray[np.float32], spoken: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale a clip to `SPEECH_LEVEL`, and limit what exceeds `PEAK_CEILING` then.

    A click or a bump on the table is limited for its own few milliseconds; the speech is as loud as
    it would be without it.

    Args:
        clip: `(n,)`.
        spoken: The windows of it that contain speech, `(windows, WINDOW)`.
    """
    power = np.square(spoken, dtype=np.float64).mean(axis=1)
    usual = np.minimum(power, 2 * np.percentile(power, _LOUD_PERCENTILE))
    gain = 10 ** ((SPEECH_LEVEL - decibels(float(usual.mean()))) / 20)
    return _limited(clip * np.float32(gain), 10 ** (PEAK_CEILING / 20))


def _without_rumble(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Remove what is below any voice: the offset, its jumps and drift, and the rumble of handling.

    It would count as level otherwise, and hide faint speech from the detector.
    """
    samples = samples - samples.mean(dtype=np.float64).astype(np.float32)
    highest = _BANG * loud_level(np.abs(samples))
    padded = np.pad(samples.clip(-highest, highest), _RUMBLE_EDGE, mode="edge")
    slow = soxr.resample(padded, REFERENCE_SAMPLE_RATE, _RUMBLE_RATE)
    times = np.arange(-_RUMBLE_REACH, _RUMBLE_REACH + 1) / _RUMBLE_RATE
    low_pass = np.sinc(2 * _RUMBLE * times) * np.hanning(len(times) + 2)[1:-1]
    slow = np.convolve(slow, low_pass / low_pass.sum(), "same").astype(np.float32)
    rumble = soxr.resample(slow, _RUMBLE_RATE, REFERENCE_SAMPLE_RATE)
    without: NDArray[np.float32] = samples - rumble[_RUMBLE_EDGE:][: len(samples)]
    return without


def _parts(speech: NDArray[np.bool_], power: NDArray[np.float64]) -> list[tuple[int, int]]:
    """The runs of speech; those over `_LONGEST_STRETCH` are cut where they are faintest."""
    parts = []
    for begin, end in runs(speech).tolist():
        start = begin
        while end - start > _LONGEST_STRETCH:
            earliest = start + _SHORTEST_PART
            cut = earliest + int(np.argmin(power[earliest : start + _LONGEST_STRETCH]))
            parts.append((start, cut))
            start = cut
        parts.append((start, end))
    return parts


def _limited(samples: NDArray[np.float32], ceiling: float) -> NDArray[np.float32]:
    """Lower the gain around each sample over a ceiling, some milliseconds before and after it."""
    if np.abs(samples).max() <= ceiling:
        return samples
    blocks = np.zeros(-(-len(samples) // _BLOCK) * _BLOCK, np.float32)
    blocks[: len(samples)] = np.abs(samples)
    peaks = blocks.reshape(-1, _BLOCK).max(axis=1)
    gains = np.minimum(1.0, ceiling / np.maximum(peaks, ceiling))
    # The lowest gain of the blocks around, then their mean: no higher than any block may have.
    around = np.pad(gains, 2 * _REACH, mode="edge")
    lowest = sliding_window_view(around, 2 * _REACH + 1).min(axis=1)
    smooth = sliding_window_view(lowest, 2 * _REACH + 1).mean(axis=1)
    centres = (np.arange(len(gains)) + 0.5) * _BLOCK
    gain = np.interp(np.arange(len(samples)), centres, smooth).astype(np.float32)
    limited: NDArray[np.float32] = np.clip(samples * gain, -ceiling, ceiling)
    return limited
