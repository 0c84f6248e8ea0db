"""A voice that needs no recording."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from backend.contract import REFERENCE_SAMPLE_RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray


def buzz(pitch: float, seconds: float = 4.0) -> NDArray[np.float32]:
    """A voice of sorts: a buzz at `pitch` Hz that swells and fades three times a second."""
    times = np.arange(round(seconds * REFERENCE_SAMPLE_RATE)) / REFERENCE_SAMPLE_RATE
    loudness = 0.2 + 0.1 * np.sin(2 * np.pi * 3 * times)
    return (loudness * np.sign(np.sin(2 * np.pi * pitch * times))).astype(np.float32)
