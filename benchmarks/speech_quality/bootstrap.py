"""Means of measurements, and how far they can be trusted: a bootstrap over voices and sentences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

RESAMPLES = 4_000
_SEED = 20_260_101
_CONFIDENCE = 95  # per cent


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure, and the interval that holds it with 95 % confidence.

    Attributes:
        value: The figure over all measurements.
        low: The interval's lower end.
        high: The interval's upper end.
    """

    value: float
    low: float
    high: float

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out 0: a difference that is not explained by chance."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measurement of one speech: what its numbers are added to.

    Attributes:
        voice: Which reference spoke.
        sentence: Which sentence was said.
        amount: What is added up, such as word errors.
        of: What the sum is divided by, such as the number of words; 1 for a plain mean.
    """

    voice: str
    sentence: str
    amount: float
    of: float = 1.0


def estimate(measurements: Sequence[Measurement]) -> Estimate:
    """Estimate the sum of the amounts divided by the sum of what they are of."""
    return _with_interval(_ratios(measurements, _weights(measurements)))


def estimate_share(measurements: Sequence[Measurement]) -> Estimate:
    """Estimate how often something happens; each amount is 1 if it did and 0 if it did not.

    What never happened could not be drawn either, so the interval then ends at three divided by the
    number of measurements (the "rule of three").
    """
    found = estimate(measurements)
    if any(measurement.amount for measurement in measurements):
        return found
    return Estimate(found.value, found.low, min(1.0, 3 / len(measurements)))


def estimate_change(before: Sequence[Measurement], after: Sequence[Measurement]) -> Estimate:
    """Estimate how much a figure changes from one setting to another, both on the same speeches.

    Args:
        before: The measurements with one setting.
        after: Those with the other setting, of the same voices and sentences in the same order.

    Raises ValueError if they are not of the same.
    """
    pairs = zip(before, after, strict=True)
    if any((one.voice, one.sentence) != (two.voice, two.sentence) for one, two in pairs):
        raise ValueError("both settings need measurements of the same speeches, in the same order")
    weights = _weights(before)
    return _with_interval(_ratios(after, weights) - _ratios(before, weights))


def _weights(measurements: Sequence[Measurement]) -> NDArray[np.float64]:
    """Draw how often each measurement counts: shape (1 + resamples, measurements).

    Each resample draws as many voices as there are, with replacement, and as many sentences. A
    measurement counts as often as its voice was drawn times as often as its sentence was. So what
    all speeches of a voice, or of a sentence, have in common widens the interval as it should. (For
    such crossed effects see Owen, "The pigeonhole bootstrap", 2007.) The first row counts each
    once. The draw has a fixed seed.
    """
    generator = np.random.default_rng(_SEED)
    weights = np.ones((1 + RESAMPLES, len(measurements)))
    for names in (
        [measurement.voice for measurement in measurements],
        [measurement.sentence for measurement in measurements],
    ):
        unique, which = np.unique(np.array(names), return_inverse=True)
        even = np.full(len(unique), 1 / max(1, len(unique)))
        counts = generator.multinomial(len(unique), even, RESAMPLES)
        weights[1:] *= counts[:, which]
    return weights


def _ratios(
    measurements: Sequence[Measurement], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the figure for each row of weights; NaN for a row that counts nothing."""
    amounts = weights @ np.array([measurement.amount for measurement in measurements])
    of = weights @ np.array([measurement.of for measurement in measurements])
    return np.asarray(np.divide(amounts, of, out=np.full(len(of), np.nan), where=of > 0))


def _with_interval(figures: NDArray[np.float64]) -> Estimate:
    value, resampled = figures[0], figures[1:]
    known = resampled[np.isfinite(resampled)]
    if not np.isfinite(value) or not len(known):
        return Estimate(float("nan"), float("nan"), float("nan"))
    beyond = (100 - _CONFIDENCE) / 2
    low, high = np.percentile(known, [beyond, 100 - beyond])
    return Estimate(float(value), float(low), float(high))
