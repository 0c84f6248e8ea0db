"""A recording's loudness over time, small enough to be drawn beside a play button."""

from __future__ import annotations

import numpy as np

MAX_POINTS = 256
SECONDS_PER_POINT = 0.1
"""The finest that a short recording is drawn."""

LOUDEST = 255


def waveform(pcm: bytes, sample_rate: int) -> bytes:
    """Draw a recording: a byte for each point, 0 for silence and 255 for the loudest point.

    Takes some 10 ms a minute of speech. Raises `ValueError` for no audio.

    Args:
        pcm: Mono s16le samples.
        sample_rate: In Hz.
    """
    samples = np.frombuffer(pcm, "<i2")
    if not len(samples):
        raise ValueError("there is nothing to draw")
    wanted = round(len(samples) / sample_rate / SECONDS_PER_POINT)
    points = min(max(wanted, 1), MAX_POINTS, len(samples))
    starts = np.arange(points) * len(samples) // points
    power = np.square(samples, dtype=np.float32)
    lengths = np.diff(starts, append=len(samples))
    loudness = np.sqrt(np.add.reduceat(power, starts) / lengths)
    return bytes((loudness * LOUDEST / max(1.0, loudness.max())).round().astype(np.uint8))
