"""Sounds for tests of trimming and pauses: a loud voice, near-silence, and how to find pauses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE = 24_000
LOUD = 1_000


def quiet(seconds: float, noise: int = 3) -> NDArray[np.int16]:
    """Near-silence, as recordings have it."""
    random = np.random.default_rng(1)
    return random.integers(-noise, noise + 1, round(seconds * RATE)).astype("<i2")


def voice(seconds: float) -> NDArray[np.int16]:
    """Something loud from its first sample to its last."""
    wave = np.cos(np.arange(round(seconds * RATE)) / RATE * 2 * np.pi * 200)
    return (wave * 8_000).astype("<i2")


def sentence(before: float, seconds: float, after: float) -> bytes:
    """So many seconds of voice, with near-silence around it; mono s16le."""
    return np.concatenate([quiet(before), voice(seconds), quiet(after)]).tobytes()


def pauses(pcm: bytes, sample_rate: int = RATE) -> list[float]:
    """Seconds between stretches of sound, longer than any gap within the test voice."""
    (loud,) = np.nonzero(np.abs(np.frombuffer(pcm, "<i2")) > LOUD)
    gaps = np.diff(loud) / sample_rate
    return [float(gap) for gap in gaps if gap > 0.02]
