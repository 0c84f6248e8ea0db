"""What becomes of rows' samples: an error of one row is its own, and the others are marked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from backend.contract import BackendBusyError, GenerationFailedError
from backend.engine.row_output import SpeechOutput
from backend.watermark.watermark import Watermarker
from tests.support.buzz import buzz

if TYPE_CHECKING:
    from numpy.typing import NDArray

PIECE = 8 * 1_920
ROWS = 6


def pieces(start: int = 0) -> list[NDArray[np.float32]]:
    """The next piece of each row."""
    return [buzz(100 + 20 * row)[start : start + PIECE] for row in range(ROWS)]


def same(marked: object, expected: NDArray[np.float32]) -> None:
    np.testing.assert_allclose(np.asarray(marked), np.asarray(expected), atol=1e-6, rtol=0)


def test_samples_that_are_not_numbers_end_their_own_row(watermarker: Watermarker) -> None:
    output = SpeechOutput(watermarker)
    rows = [output.open() for _ in range(ROWS)]
    broken = pieces()
    broken[2] = np.where(np.arange(PIECE) == 9, np.float32(np.nan), broken[2])
    broken[4] = np.where(np.arange(PIECE) == 9, np.float32(np.inf), broken[4])
    results = output.push(rows, broken)
    for row, result in enumerate(results):
        if row in (2, 4):
            assert isinstance(result, GenerationFailedError)
        else:
            same(result, watermarker.stream().push(broken[row]))


def test_silence_ends_its_own_row(watermarker: Watermarker) -> None:
    output = SpeechOutput(watermarker)
    rows = [output.open() for _ in range(3)]
    silent = np.full(PIECE, 0.5, np.float32)
    pushed = output.push(rows, [pieces()[0], silent, pieces()[2]])
    first, second, third = output.finish(rows)
    assert isinstance(second, GenerationFailedError)
    for piece, rest in ((pushed[0], first), (pushed[2], third)):
        assert len(np.asarray(piece)) + len(np.asarray(rest)) == PIECE


@pytest.mark.parametrize("victims", [{0}, {5}, {1, 4}, {2, 3}, set(range(ROWS))])
def test_rows_without_memory_end_and_the_others_are_marked(
    watermarker: Watermarker, monkeypatch: pytest.MonkeyPatch, victims: set[int]
) -> None:
    output = SpeechOutput(watermarker)
    rows = [output.open() for _ in range(ROWS)]
    starved = {rows[row].stream for row in victims}

    def failing(original: Any) -> Any:
        def mark(marker: Watermarker, streams: Any, *given: Any) -> Any:
            if starved & {*streams}:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
            return original(marker, streams, *given)

        return mark

    for name in ("push", "finish"):
        monkeypatch.setattr(Watermarker, name, failing(getattr(Watermarker, name)))
    results = output.push(rows, pieces())
    rests = output.finish(rows)
    monkeypatch.undo()
    for row, (marked, rest) in enumerate(zip(results, rests, strict=True)):
        if row in victims:
            assert isinstance(marked, BackendBusyError)
            assert isinstance(rest, BackendBusyError)
        else:
            stream = watermarker.stream()
            expected = np.concatenate([stream.push(pieces()[row]), stream.finish()])
            same(np.concatenate([np.asarray(marked), np.asarray(rest)]), expected)


def test_any_other_error_is_raised(
    watermarker: Watermarker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("CUDA error: device-side assert triggered")

    output = SpeechOutput(watermarker)
    rows = [output.open() for _ in range(ROWS)]
    monkeypatch.setattr(Watermarker, "push", fail)
    with pytest.raises(RuntimeError, match="assert"):
        output.push(rows, pieces())


def test_without_a_watermark_samples_stay_as_they_are() -> None:
    output = SpeechOutput(watermark=None)
    rows = [output.open() for _ in range(ROWS)]
    for result, piece in zip(output.push(rows, pieces()), pieces(), strict=True):
        np.testing.assert_array_equal(np.asarray(result), piece)
    assert all(len(np.asarray(rest)) == 0 for rest in output.finish(rows))
