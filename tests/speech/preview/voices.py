"""Two voices to test with: the synthetic one as it is, and a higher, shorter-tracted one of it."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pyworld

from backend.contract import ConsentRecord, ReferenceClip
from bot.speech.preview.adaptation import track_pitch
from tests.support.recordings import speech

if TYPE_CHECKING:
    from numpy.typing import NDArray

SAMPLE_RATE = 24_000
CONSENT = ConsentRecord(1234, datetime(2026, 11, 1, tzinfo=UTC), "2026-11")
HIGHER = 2.3
SHORTER = 1.15


@cache
def low_voice() -> NDArray[np.float64]:
    return speech(5.0, SAMPLE_RATE).astype(np.float64) * 0.5


@cache
def high_voice() -> NDArray[np.float64]:
    return moved(low_voice(), SAMPLE_RATE, pitch=HIGHER, resonances=SHORTER)


def moved(
    samples: NDArray[np.float64], sample_rate: int, *, pitch: float, resonances: float
) -> NDArray[np.float64]:
    """Another speaker saying the same: WORLD with its pitch and its frequency axis multiplied."""
    rough, times = track_pitch(samples, sample_rate)
    melody = pyworld.stonemask(samples, rough, times, sample_rate)
    envelopes = pyworld.cheaptrick(samples, melody, times, sample_rate)
    aperiodicity = pyworld.d4c(samples, melody, times, sample_rate)
    bins = np.arange(envelopes.shape[1])
    stretched = np.array([np.interp(bins / resonances, bins, frame) for frame in envelopes])
    spoken = pyworld.synthesize(melody * pitch, stretched, aperiodicity, sample_rate)
    return np.asarray(0.5 * spoken / np.abs(spoken).max())


def clip(samples: NDArray[np.float64], sample_rate: int = SAMPLE_RATE) -> ReferenceClip:
    return ReferenceClip((samples * 32_767).astype("<i2").tobytes(), sample_rate)


def median_pitch(samples: NDArray[np.float64], sample_rate: int) -> float:
    pitch, _ = track_pitch(samples, sample_rate)
    return float(np.median(pitch[pitch > 0]))
