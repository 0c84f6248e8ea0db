"""Recordings that are marked together: each as if it were alone, and at the price of one."""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.operations import work_of
from tests.support.recordings import speech

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from backend.watermark.watermark import Watermarker

RATE = 24_000
FRAME = 1_920
"""Samples of a codec frame."""

ROWS = 5
FINISH = -1

LENGTHS = st.sampled_from([2 * FRAME, 3 * FRAME, 8 * FRAME]) | st.integers(0, 3 * FRAME)
STEPS = st.dictionaries(st.integers(0, ROWS - 1), st.just(FINISH) | LENGTHS, min_size=1)
"""What the next pieces of some recordings are: so many samples, or the end."""


@cache
def voice(row: int, seconds: float = 6) -> NDArray[np.float32]:
    """Speech that no other row has."""
    return np.roll(speech(seconds, RATE), row * RATE) * np.float32(0.5)


def same(marked: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    assert len(marked) == len(expected)
    np.testing.assert_allclose(marked, expected, rtol=0, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.lists(STEPS, max_size=8))
def test_each_recording_is_marked_as_if_it_were_alone(
    watermarker: Watermarker, steps: list[dict[int, int]]
) -> None:
    voices = [voice(row, 20) for row in range(ROWS)]
    together = [watermarker.stream() for _ in voices]
    alone = [watermarker.stream() for _ in voices]
    pushed = [0] * ROWS
    finished: set[int] = set()
    for step in [*steps, dict.fromkeys(range(ROWS), FINISH)]:
        pieces: dict[int, NDArray[np.float32]] = {}
        ends = {row for row, length in step.items() if length == FINISH} - finished
        for row, length in step.items():
            if length != FINISH and row not in finished:
                pieces[row] = voices[row][pushed[row] : pushed[row] + length]
                pushed[row] += length
        marked = watermarker.push([together[row] for row in pieces], list(pieces.values()))
        for (row, piece), samples in zip(pieces.items(), marked, strict=True):
            same(samples, alone[row].push(piece))
        rests = watermarker.finish([together[row] for row in ends])
        for row, samples in zip(ends, rests, strict=True):
            same(samples, alone[row].finish())
        finished |= ends


def test_a_recording_that_is_not_numbers_harms_no_other(watermarker: Watermarker) -> None:
    streams = [watermarker.stream() for _ in range(3)]
    alone = watermarker.stream()
    broken = np.full(3 * FRAME, np.nan, np.float32)
    for start in range(0, RATE, 3 * FRAME):
        piece = voice(1)[start:][: 3 * FRAME]
        first, second, _ = watermarker.push(streams, [broken, piece, piece])
        same(second, alone.push(piece))
        assert np.isnan(first).all()
    _, rest, _ = watermarker.finish(streams)
    same(rest, alone.finish())


@pytest.mark.parametrize("frames", [[3, 2, 4, 8], [4, 4, 8, 12]])
def test_many_recordings_take_as_many_operations_as_one(
    watermarker: Watermarker, frames: Sequence[int]
) -> None:
    def counts(rows: int) -> list[int]:
        streams = [watermarker.stream() for _ in range(rows)]
        taken = []
        for count in frames:
            pieces = [voice(row)[: count * FRAME] for row in range(rows)]
            taken.append(work_of(partial(watermarker.push, streams, pieces)).operations)
        return [*taken, work_of(partial(watermarker.finish, streams)).operations]

    assert counts(rows=1) == counts(rows=16)
    assert max(counts(rows=1)) < 150


def test_rows_that_began_at_different_times_are_marked_together(watermarker: Watermarker) -> None:
    streams = [watermarker.stream() for _ in range(3)]
    for row, stream in enumerate(streams):
        for frames in (3, 2, 4, 8)[: row + 1]:
            stream.push(voice(row)[: frames * FRAME])
    pieces = [voice(row)[: 4 * FRAME] for row in range(3)]
    together = work_of(lambda: watermarker.push(streams, pieces))
    alone = work_of(lambda: watermarker.push(streams[:1], pieces[:1]))
    assert together.operations == alone.operations


def test_a_group_is_copied_to_the_device_once_and_back_once(
    watermarker: Watermarker, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = []

    def counted(name: str, original: Any) -> Any:
        def copy(*args: Any, **options: Any) -> Any:
            copies.append(name)
            return original(*args, **options)

        return copy

    streams = [watermarker.stream() for _ in range(8)]
    for owner, name in [(torch.Tensor, "to"), (torch.Tensor, "cpu"), (torch, "tensor")]:
        monkeypatch.setattr(owner, name, counted(name, getattr(owner, name)))
    lengths = [3 * FRAME] * 5 + [FRAME] * 3
    watermarker.push(streams, [voice(row)[:length] for row, length in enumerate(lengths)])
    assert copies == ["to", "cpu"] * 2


@pytest.mark.parametrize("call", [1, 5, 9, 14, 18])
def test_if_memory_runs_out_no_recording_has_changed(
    watermarker: Watermarker, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    lengths = [3 * FRAME, 2 * FRAME, 3 * FRAME]  # two groups
    pieces = [voice(row)[:length] for row, length in enumerate(lengths)]
    streams, others = ([watermarker.stream() for _ in lengths] for _ in range(2))
    original, calls = torch.cat, []

    def failing(*args: Any, **options: Any) -> Any:
        calls.append(args)
        if len(calls) == call:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return original(*args, **options)

    with monkeypatch.context() as broken:
        broken.setattr(torch, "cat", failing)
        with pytest.raises(torch.OutOfMemoryError):
            watermarker.push(streams, pieces)
    for _ in range(2):
        marked = [watermarker.push(each, pieces) for each in (streams, others)]
        for ours, expected in zip(*marked, strict=True):
            same(ours, expected)


def test_one_that_is_finished_or_comes_twice_changes_no_other(watermarker: Watermarker) -> None:
    finished, going_on = watermarker.stream(), watermarker.stream()
    finished.finish()
    piece = voice(0)[: 3 * FRAME]
    with pytest.raises(ValueError, match="finished"):
        watermarker.push([going_on, finished], [piece, piece])
    with pytest.raises(ValueError, match="twice"):
        watermarker.push([going_on, going_on], [piece, piece])
    with pytest.raises(ValueError, match="twice"):
        watermarker.finish([going_on, going_on])
    with pytest.raises(ValueError, match="shorter"):
        watermarker.push([going_on], [])
    same(going_on.push(piece), watermarker.stream().push(piece))


def test_nothing_to_mark_is_nothing(watermarker: Watermarker) -> None:
    assert watermarker.push([], []) == []
    assert watermarker.finish([]) == []
