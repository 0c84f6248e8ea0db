"""Repairs single bad samples of a recording, and finds its scale in spite of them.

Programs that write floating-point files leave NaN, infinities, samples far beyond full scale, or a
whole recording on an integer's scale. A few bad samples say nothing about the rest, so they are
interpolated. Resampling has spread each of them over its neighbours by then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from backend.contract import REFERENCE_SAMPLE_RATE
from bot.errors import Reason, Refusal

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DAMAGED_SHARE = 0.02
"""From this share of bad samples on, a recording counts as damaged."""

_SPIKE = 8.0
"""A sample beyond full scale is a spike if it is so many times as large as the loud sound is."""

_LOST_SHARE = 0.2
"""From this share of replaced samples on, too little of the speech is left."""

_RINGING = round(0.002 * REFERENCE_SAMPLE_RATE)
"""So many samples on either side of a spike are replaced too, where a resampler has spread it."""

_INTEGER_SCALES = (2.0**15, 2.0**23, 2.0**31)
_LARGEST_FLOAT = 4.0
"""Below this, loud sound is a float mix that is too hot; beyond, it has an integer's scale."""

_LARGEST_FINITE = float(np.finfo(np.float32).max)

_WINDOW = REFERENCE_SAMPLE_RATE // 20
_LOUD_WINDOWS = 10
_LOUD_PERCENTILE = 95


def repair(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Interpolate bad samples, and bring the rest to the usual scale of floats.

    Args:
        samples: `(n,)`, at `REFERENCE_SAMPLE_RATE`, with any values.

    Returns:
        `(n,)`, finite. What is loud lies within -1 and 1; rare peaks may exceed that.

    Raises `Refusal` if too many samples are bad.
    """
    no_number = ~np.isfinite(samples)
    finite = np.where(no_number, np.float32(0), samples) if no_number.any() else samples
    magnitude = np.abs(finite)
    loud = loud_level(magnitude)
    spikes = magnitude > min(max(1.0, _SPIKE * loud), _LARGEST_FINITE)
    if no_number.any() or spikes.any():
        finite = _interpolated(finite, _replaced(no_number, spikes))
    scale = min(_scale_of(loud), _LARGEST_FINITE)
    return finite if scale == 1.0 else np.asarray(finite / np.float32(scale), np.float32)


def loud_level(magnitude: NDArray[np.float32]) -> float:
    """How large the samples are where it is loud, whatever a few of them are.

    It is a high percentile within a window, of the half second that is loudest.
    """
    windows = magnitude[: len(magnitude) // _WINDOW * _WINDOW].reshape(-1, _WINDOW)
    if not len(windows):
        return float(magnitude.max(initial=0.0))
    loud = _WINDOW * _LOUD_PERCENTILE // 100
    levels = np.sort(np.partition(windows, loud, axis=1)[:, loud])
    return float(levels[-min(_LOUD_WINDOWS, len(levels))])


def _scale_of(loud: float) -> float:
    """What stands for 1 in a recording whose loud sound has this level."""
    if loud <= 1.0:
        return 1.0
    if loud <= _LARGEST_FLOAT:
        return 2 * loud
    plausible = (scale for scale in _INTEGER_SCALES if scale / 100 <= loud <= scale)
    return next(plausible, 2 * loud)


def _replaced(no_number: NDArray[np.bool_], spikes: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Bad samples, and the neighbours of spikes. Raises `Refusal` if those are too many.

    Whatever a resampler makes of NaN is NaN, so those have no other neighbours to replace.
    """
    at = np.flatnonzero(spikes)
    edges = np.zeros(len(spikes) + 1, np.int32)
    np.add.at(edges, np.maximum(at - _RINGING, 0), 1)
    np.add.at(edges, np.minimum(at + _RINGING + 1, len(spikes)), -1)
    replaced = no_number | (np.cumsum(edges[:-1]) > 0)
    if (no_number | spikes).mean() > _DAMAGED_SHARE or replaced.mean() > _LOST_SHARE:
        raise Refusal(Reason.RECORDING_DAMAGED)
    return replaced


def _interpolated(samples: NDArray[np.float32], replaced: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Draw a straight line through what is replaced."""
    kept = np.flatnonzero(~replaced)
    repaired = samples.copy()
    gaps = np.flatnonzero(replaced)
    repaired[gaps] = np.interp(gaps, kept, samples[kept])
    return repaired
