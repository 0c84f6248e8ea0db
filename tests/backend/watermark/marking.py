"""A whole recording, marked piece by piece as the engine does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from backend.watermark.watermark import Watermarker

PIECE = 240_000


def mark(watermarker: Watermarker, samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give back as many samples, marked."""
    stream = watermarker.stream()
    pieces = [stream.push(samples[at : at + PIECE]) for at in range(0, len(samples), PIECE)]
    return np.concatenate([*pieces, stream.finish()])
