"""How loud something is, as pyloudnorm measures it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def integrated_loudness(samples: NDArray[np.floating], sample_rate: int) -> float:
    """Of samples from -1.0 to 1.0, the loudness in LUFS."""
    # With it comes SciPy, which takes every process that collects tests half a second.
    import pyloudnorm  # noqa: PLC0415

    return float(pyloudnorm.Meter(sample_rate).integrated_loudness(samples.astype(float)))
