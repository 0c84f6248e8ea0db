"""Which tones a sound contains, and how alike two sounds are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from tests.support.voice_server.hearing import FRAME_SECONDS, SAMPLE_RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.support.voice_server.hearing import Heard

SAME_PITCH_HERTZ = 25.0


@dataclass(frozen=True, slots=True)
class Likeness:
    """How alike two sounds are at the best offset.

    Attributes:
        score: Their correlation coefficient, from 0 to 1.
        offset_seconds: How much later the second sound is.
    """

    score: float
    offset_seconds: float


@dataclass(frozen=True, slots=True)
class Tone:
    """A stretch of one pitch, in Hz; the times are `time.time()` of its first and last frame."""

    pitch: float
    began: float
    ended: float
    seconds: float


class Spectrum:
    """The frequencies in some 20 ms of sound."""

    def __init__(self, samples: NDArray[np.float32]) -> None:
        size = _transform_size(len(samples))
        window = _window(len(samples))
        self._step = SAMPLE_RATE / size
        self._magnitudes = np.abs(np.fft.rfft(samples * window, size)) * (2 / window.sum())

    def peak(self, lowest: float, highest: float) -> tuple[float, float]:
        """The strongest pitch between two bounds, in Hz, and the amplitude of its tone."""
        low, high = round(lowest / self._step), round(highest / self._step)
        top = low + int(np.argmax(self._magnitudes[low:high]))
        around = np.log(self._magnitudes[top - 1 : top + 2] + 1e-12)
        bend = around[0] - 2 * around[1] + around[2]  # the peak of the parabola through the points
        shift = 0.5 * (around[0] - around[2]) / bend if bend else 0.0
        return float(top + shift) * self._step, float(self._magnitudes[top])


def pitch(
    samples: NDArray[np.float32], *, lowest: float = 100.0, highest: float = 12_000.0
) -> float:
    """The strongest pitch between two bounds, in Hz; good to 1 Hz for 20 ms of a clear tone."""
    return Spectrum(samples).peak(lowest, highest)[0]


@cache
def _window(size: int) -> NDArray[np.float64]:
    return np.hanning(size)


def _transform_size(size: int) -> int:
    """At least four times as much, so that a parabola finds the peak."""
    return 1 << (4 * size - 1).bit_length()


def tones(heard: Heard) -> list[Tone]:
    """The tones in the order in which they were heard."""
    found: list[Tone] = []
    for frame in heard.audible().frames:
        now = Tone(pitch(frame.samples), frame.arrived, frame.arrived, FRAME_SECONDS)
        if found and abs(found[-1].pitch - now.pitch) < SAME_PITCH_HERTZ:
            last = found.pop()
            now = Tone(last.pitch, last.began, now.ended, last.seconds + FRAME_SECONDS)
        found.append(now)
    return found


def likeness(expected: NDArray[np.float32], heard: NDArray[np.float32]) -> Likeness:
    """Compare two sounds at 48 kHz, at whichever offset they are most alike.

    The coefficient covers all of both sounds, so what is missing or added lowers it.
    """
    size = 1 << (len(expected) + len(heard)).bit_length()
    products = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(expected, size)), size)
    best = int(np.argmax(products))
    energy = float(np.linalg.norm(expected) * np.linalg.norm(heard))
    offset = best if best < size // 2 else best - size
    return Likeness(float(products[best]) / energy if energy else 0.0, offset / SAMPLE_RATE)
