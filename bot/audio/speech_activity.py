"""Where in a recording somebody speaks, by Silero VAD.

Energy and WebRTC's detector take tones and noise for speech; Silero does not. `silero_vad.onnx` is
the file silero_vad_16k_sequence.onnx of Silero VAD 6.2.3, which judges a whole recording at once:
https://github.com/snakers4/silero-vad. The Python package that holds it needs torch.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soxr
from numpy.lib.stride_tricks import sliding_window_view

from backend.contract import REFERENCE_SAMPLE_RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MODEL = Path(__file__).with_name("silero_vad.onnx")
_DETECTOR_RATE = 16_000
_DETECTOR_WINDOW = 512
_CONTEXT = 64
"""Samples in front of each window that the model wants to see again."""

WINDOW = _DETECTOR_WINDOW * REFERENCE_SAMPLE_RATE // _DETECTOR_RATE
"""Samples at `REFERENCE_SAMPLE_RATE` that are judged together: 32 ms."""

WINDOW_SECONDS = WINDOW / REFERENCE_SAMPLE_RATE

_SPEECH_PROBABILITY = 0.5
_SHORTEST_SPEECH = round(0.1 / WINDOW_SECONDS)
_SHORTEST_PAUSE = round(0.3 / WINDOW_SECONDS)


class SpeechDetector:
    """Finds speech. The first call loads the model, in some tenths of a second."""

    def find_speech(self, samples: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Tell for each window whether it belongs to speech. Takes some 3 ms a second of sound.

        Gaps between words count as speech; pauses of 0.3 s and more do not. Several threads may
        call this at once.

        Args:
            samples: `(n,)`, mono at `REFERENCE_SAMPLE_RATE`, finite.

        Returns:
            `(ceil(n / WINDOW),)`.
        """
        windows = -(-len(samples) // WINDOW)
        resampled = soxr.resample(samples, REFERENCE_SAMPLE_RATE, _DETECTOR_RATE)
        stream = np.zeros(_CONTEXT + windows * _DETECTOR_WINDOW, np.float32)
        stream[_CONTEXT:][: len(resampled)] = resampled[: len(stream) - _CONTEXT]
        overlapping = sliding_window_view(stream, _CONTEXT + _DETECTOR_WINDOW)[::_DETECTOR_WINDOW]
        nothing_heard = np.zeros((1, 1, 128), np.float32)
        inputs = {"input": overlapping, "h": nothing_heard, "c": nothing_heard}
        (probabilities,) = self._model.run(["speech_probs"], inputs)
        return _smooth(np.asarray(probabilities) >= _SPEECH_PROBABILITY)

    @cached_property
    def _model(self) -> Any:
        import onnxruntime  # type: ignore[import-untyped] # noqa: PLC0415 - takes long to import

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.enable_cpu_mem_arena = False  # it would keep 100 MB after a long recording
        return onnxruntime.InferenceSession(_MODEL, options, providers=["CPUExecutionProvider"])


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
