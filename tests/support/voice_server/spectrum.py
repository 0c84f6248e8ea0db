"""Which tones a sound contains, and how alike two sounds are."""

from __future__ import annotations

from dataclasses import dataclass
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


def pitch(
    samples: NDArray[np.float32], *, lowest: float = 100.0, highest: float = 12_000.0
) -> float:
    """The strongest pitch between two bounds, in Hz; good to 1 Hz for 20 ms of a clear tone."""
    size = 8 * len(samples)
    loudness = np.log(np.abs(np.fft.rfft(samples * np.hanning(len(samples)), size)) + 1e-12)
    step = SAMPLE_RATE / size
    low, high = round(lowest / step), round(highest / step)
    top = low + int(np.argmax(loudness[low:high]))
    left, middle, right = loudness[top - 1 : top + 2]
    bend = left - 2 * middle + right  # the peak of the parabola through three points
    return float(top + (0.5 * (left - right) / bend if bend else 0.0)) * step


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
