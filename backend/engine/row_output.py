"""What becomes of rows' samples: they are checked, and watermarked, many rows together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from backend.contract import BackendBusyError, GenerationFailedError
from backend.engine.failures import is_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from backend.contract import SpeechError
    from backend.watermark.watermark import MarkingStream, Watermarker

NOTHING = np.zeros(0, np.float32)
"""No samples."""

_SILENT_LEVEL = 10 ** (-60 / 20)  # of full scale


class RowOutput:
    """What is known of the samples of one row. It comes from `SpeechOutput.open`.

    Attributes:
        stream: Where the watermark is in them. None if they stay unmarked.
    """

    def __init__(self, stream: MarkingStream | None) -> None:
        self.stream = stream
        self._lowest = np.inf
        self._highest = -np.inf

    def check(self, samples: NDArray[np.float32]) -> GenerationFailedError | None:
        """Take the next samples; return an error if they are not finite."""
        if not np.isfinite(samples).all():
            return GenerationFailedError("the model made samples that are not numbers")
        self._lowest = samples.min(initial=self._lowest)
        self._highest = samples.max(initial=self._highest)
        return None

    def check_all(self) -> GenerationFailedError | None:
        """Return an error if all samples were silent."""
        if self._highest - self._lowest < 2 * _SILENT_LEVEL:
            return GenerationFailedError("the model made silence")
        return None


class SpeechOutput:
    """Checks that the samples of rows are speech, and watermarks them.

    An error ends its own row only. If memory runs out, fewer rows are marked together. A row that
    finds no memory alone gets a `BackendBusyError`.

    Args:
        watermark: Marks the samples. With None they stay unmarked, for measurements.
    """

    def __init__(self, watermark: Watermarker | None) -> None:
        self._watermark = watermark

    def open(self) -> RowOutput:
        """Begin the output of a row."""
        return RowOutput(None if self._watermark is None else self._watermark.stream())

    def push(
        self, rows: Sequence[RowOutput], pieces: Sequence[NDArray[np.float32]]
    ) -> list[NDArray[np.float32] | SpeechError]:
        """Take the next samples of some rows, none of them twice.

        Returns:
            For each row, its samples that are ready, or its error: `GenerationFailedError` if its
            samples are not finite. The watermark delays samples a little.
        """

        def mark(indices: Sequence[int]) -> Sequence[NDArray[np.float32]]:
            some = [pieces[index] for index in indices]
            if self._watermark is None:
                return some
            return self._watermark.push(_streams(rows, indices), some)

        errors = [row.check(piece) for row, piece in zip(rows, pieces, strict=True)]
        return _results(errors, mark)

    def finish(self, rows: Sequence[RowOutput]) -> list[NDArray[np.float32] | SpeechError]:
        """Finish some rows.

        Returns:
            For each row, its remaining samples, or its error: `GenerationFailedError` if all of its
            samples were silent.
        """

        def mark(indices: Sequence[int]) -> Sequence[NDArray[np.float32]]:
            if self._watermark is None:
                return [NOTHING for _ in indices]
            return self._watermark.finish(_streams(rows, indices))

        return _results([row.check_all() for row in rows], mark)


def _streams(rows: Sequence[RowOutput], indices: Sequence[int]) -> list[MarkingStream]:
    """Return the streams of some rows, all of which are marked."""
    return [stream for index in indices if (stream := rows[index].stream)]


def _results(
    errors: Sequence[SpeechError | None],
    mark: Callable[[Sequence[int]], Sequence[NDArray[np.float32]]],
) -> list[NDArray[np.float32] | SpeechError]:
    """Return the error of each row that has one, and what `mark` returns for the others."""
    valid = [index for index, error in enumerate(errors) if error is None]
    marked = iter(_marked(mark, valid) if valid else [])
    return [error or next(marked) for error in errors]


def _marked(
    mark: Callable[[Sequence[int]], Sequence[NDArray[np.float32]]], indices: Sequence[int]
) -> list[NDArray[np.float32] | SpeechError]:
    """Return what `mark` returns for some rows, in smaller groups if memory runs out."""
    try:
        return list(mark(indices))
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        # What the attempt has made is freed at the end of this block.
    if len(indices) == 1:
        return [BackendBusyError()]  # these samples are lost
    half = len(indices) // 2
    return [*_marked(mark, indices[:half]), *_marked(mark, indices[half:])]
