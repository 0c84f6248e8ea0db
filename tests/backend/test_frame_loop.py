"""Which rows are heard when: the frame loop between a decoder and a codec without a model."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, cast

import pytest
import torch

from backend.engine.frame_loop import CODEC_ROWS, FRAMES, FrameLoop, Sentence

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backend.engine import SpeechJob

CODE_GROUPS = 2
END = 1
FRAME_SAMPLES = 10


class ScriptedDecoder:
    """Like `backend.engine.decoder.Decoder`; a row's request is how many frames it speaks."""

    def __init__(self) -> None:
        self._left: dict[object, int] = {}

    def join(self, frames: int, _draws: torch.Tensor) -> object:
        row = object()
        self._left[row] = frames
        return row

    def leave(self, row: object) -> None:
        del self._left[row]

    def choose_first_codes(self) -> list[tuple[object, int]]:
        return [(row, 0 if left else END) for row, left in self._left.items()]

    def make_frames(self) -> list[tuple[object, torch.Tensor]]:
        for row in self._left:
            self._left[row] -= 1
        return [(row, torch.zeros(CODE_GROUPS, dtype=torch.long)) for row in self._left]


class ScriptedCodec:
    """Like `backend.engine.codec_stream.CodecDecoder`.

    Attributes:
        calls: How many rows it had decoded in each call.
    """

    frames_per_second = 12.5

    def __init__(self) -> None:
        self.calls: list[int] = []

    def open(self, _reference: object) -> object:
        return object()

    def decode(self, streams: list[object], codes: torch.Tensor) -> torch.Tensor:
        self.calls.append(len(streams))
        assert len(streams) == len(codes)
        return torch.linspace(-1, 1, codes.shape[1] * FRAME_SAMPLES).expand(len(codes), -1)


class Stage:
    """A frame loop, and what comes of it.

    Attributes:
        codec: Its.
        gaps: For each row, the frames until it was first heard, and from then on between chunks.
        heard: For each row, how many frames.
    """

    def __init__(self) -> None:
        self.codec = ScriptedCodec()
        self._loop = FrameLoop(
            cast("Any", self._lay_out),
            cast("Any", ScriptedDecoder()),
            cast("Any", self.codec),
            end_of_speech=END,
            code_groups=CODE_GROUPS,
            capacity=64,
            watermark=None,
        )
        self._last: dict[int, int] = {}
        self._frame = 0
        self.gaps: defaultdict[int, list[int]] = defaultdict(list)
        self.heard: defaultdict[int, int] = defaultdict(int)

    @property
    def rows(self) -> int:
        return self._loop.rows

    def join(self, frames: int) -> int:
        number = self._loop.join(cast("SpeechJob", frames))
        self._last[number] = self._frame
        return number

    def step(self) -> None:
        self._frame += 1
        for chunk in self._loop.step():
            self.heard[chunk.row] += len(chunk.samples) // FRAME_SAMPLES
            if not chunk.is_last:
                self.gaps[chunk.row].append(self._frame - self._last[chunk.row])
                self._last[chunk.row] = self._frame

    @staticmethod
    def _lay_out(frames: int) -> Sentence:
        class Request(int):
            reference_codes = None

        return Sentence(cast("Any", Request(frames)), seed=0, most_tokens=2_048)


def joins_one_by_one(rows: int) -> Iterator[bool]:
    yield from (True for _ in range(rows))
    yield from (False for _ in range(200))


@pytest.mark.parametrize(("rows", "longest_gap"), [(8, 8), (16, 16), (64, 24)])
def test_whoever_speaks_is_heard_every_few_frames(rows: int, longest_gap: int) -> None:
    stage = Stage()
    for joins in joins_one_by_one(rows):
        if joins:
            stage.join(1_000)
        stage.step()
    assert max(gap for gaps in stage.gaps.values() for gap in gaps) <= longest_gap
    assert max(stage.codec.calls) <= CODEC_ROWS
    if rows == 16:  # as many as the codec can follow at its pace
        assert {gaps[-1] for gaps in stage.gaps.values()} == {FRAMES}


def test_a_newcomer_is_heard_first() -> None:
    stage = Stage()
    for _ in range(12):
        stage.join(1_000)
        stage.step()
    newcomers = []
    for _ in range(10):
        newcomers.append(stage.join(1_000))
        for _ in range(7):
            stage.step()
    assert all(stage.gaps[newcomer][0] <= 5 for newcomer in newcomers)


def test_newcomers_without_end_keep_nobody_from_being_heard() -> None:
    stage = Stage()
    speaker = stage.join(1_000)
    for _ in range(400):
        stage.join(16)
        stage.step()
    assert max(stage.gaps[speaker]) <= 2 * FRAMES + 1
    assert stage.heard[speaker] >= 400 - 2 * FRAMES


def test_every_frame_is_heard_once() -> None:
    stage = Stage()
    lengths = {stage.join(frames): frames for frames in range(1, 40)}
    while stage.rows:
        stage.step()
    assert stage.heard == lengths
