"""What leaves of one row: checked to be speech, and marked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from backend.contract import REFERENCE_SAMPLE_RATE, GenerationFailedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from backend.watermark.watermark import Watermarker

_SILENT_LEVEL = 10 ** (-60 / 20)  # of full scale


class RowOutput:
    """The way out for the samples of one row.

    Args:
        watermark: Marks them. None leaves them as they are, to be measured.
    """

    def __init__(self, watermark: Watermarker | None) -> None:
        self._marking = watermark and watermark.stream(REFERENCE_SAMPLE_RATE)
        self._lowest = np.inf
        self._highest = -np.inf

    def take(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take the next samples; give what is ready to leave, which runs a little late.

        Raises `GenerationFailedError` if they are no numbers.
        """
        if not np.isfinite(samples).all():
            raise GenerationFailedError("the model made samples that are not numbers")
        self._lowest = samples.min(initial=self._lowest)
        self._highest = samples.max(initial=self._highest)
        return self._marking.push(samples) if self._marking else samples

    def finish(self) -> NDArray[np.float32]:
        """Give the rest.

        Raises `GenerationFailedError` if nothing was ever heard.
        """
        if self._highest - self._lowest < 2 * _SILENT_LEVEL:
            raise GenerationFailedError("the model made silence")
        return self._marking.finish() if self._marking else np.zeros(0, np.float32)
