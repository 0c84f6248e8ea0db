"""Which rows are heard when: the frame loop between a decoder and a codec without a model."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, cast

import pytest
import torch

from backend.engine.generation import CODEC_FRAMES, FRAMES, FrameLoop, Sentence
from backend.watermark.watermark import MarkingStream
from bot.playback.source import BYTES_PER_SECOND, SpeechSource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backend.contract import SpeechRequest

CODE_GROUPS = 2
END = 1
FRAME_SAMPLES = 10
FRAME_SECONDS = 0.08
HELD_BACK = MarkingStream.DELAY_SECONDS / FRAME_SECONDS
"""Frames that the watermark keeps to itself."""


class ScriptedDecoder:
    """Like `backend.engine.batch.Decoder`; a row's request is how many frames it speaks."""

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
    """Like `backend.engine.codec.CodecDecoder`.

    Attributes:
        calls: The frames of all rows in each call.
    """

    frames_per_second = 12.5

    def __init__(self) -> None:
        self.calls: list[int] = []

    def open(self, _reference: object) -> object:
        return object()

    def decode(self, streams: list[object], codes: torch.Tensor) -> torch.Tensor:
        self.calls.append(codes.shape[0] * codes.shape[1])
        assert len(streams) == len(codes)
        return torch.linspace(-1, 1, codes.shape[1] * FRAME_SAMPLES).expand(len(codes), -1)


class Stage:
    """A frame loop, and what comes of it.

    Attributes:
        codec: Its.
        gaps: For each row, the frames until it was first heard, and from then on between chunks.
        heard: For each row, how many frames.
        paces: For each row and chunk, from the third on: how long a frame may take, as a part of
            the time that it lasts, if whoever plays from the second chunk on is not to wait.
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
        self.paces: defaultdict[int, list[float]] = defaultdict(list)

    @property
    def rows(self) -> int:
        return self._loop.rows

    def join(self, frames: int) -> int:
        number = self._loop.join(cast("SpeechRequest", frames))
        self._last[number] = self._frame
        return number

    def step(self) -> None:
        self._frame += 1
        for chunk in self._loop.step():
            row, gaps = chunk.row, self.gaps[chunk.row]
            if not chunk.is_last:
                gaps.append(self._frame - self._last[row])
                self._last[row] = self._frame
            if len(gaps) > 2:
                self.paces[row].append((self.heard[row] - HELD_BACK) / sum(gaps[2:]))
            self.heard[row] += len(chunk.samples) // FRAME_SAMPLES

    @staticmethod
    def _lay_out(frames: int) -> Sentence:
        class Request(int):
            reference_codes = None

        return Sentence(cast("Any", Request(frames)), seed=0, most_tokens=2_048)


def joins_one_by_one(rows: int) -> Iterator[bool]:
    yield from (True for _ in range(rows))
    yield from (False for _ in range(200))


@pytest.mark.parametrize(
    ("rows", "longest_gap", "slowest"), [(1, 20, 0.6), (8, 20, 0.6), (16, 20, 0.4), (64, 28, 0.28)]
)
def test_whoever_speaks_is_heard_every_few_frames(
    rows: int, longest_gap: int, slowest: float
) -> None:
    stage = Stage()
    for joins in joins_one_by_one(rows):
        if joins:
            stage.join(1_000)
        stage.step()
    assert max(gap for gaps in stage.gaps.values() for gap in gaps) <= longest_gap
    assert {gaps[-1] for gaps in stage.gaps.values()} == {FRAMES}
    assert min(pace for paces in stage.paces.values() for pace in paces) > slowest


@pytest.mark.parametrize("pace", [0.1, 0.3, 0.55])
def test_what_is_played_while_it_is_made_has_no_hole(
    pace: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("time.perf_counter", lambda: now)
    stage, source = Stage(), SpeechSource()
    row = stage.join(120)
    fed = 0
    for frame in range(120):
        while now < frame * pace * FRAME_SECONDS:
            source.read()
            now += 0.02
        stage.step()
        ready = max(0, stage.heard[row] - HELD_BACK) * FRAME_SECONDS
        length = round(ready * BYTES_PER_SECOND / 4) * 4
        source.feed(bytes(length - fed))
        fed = length
    assert source.underruns == 0
    assert source.position > 0.8 * (now - 20 * pace * FRAME_SECONDS) * BYTES_PER_SECOND


@pytest.mark.parametrize("rows", [1, 8, 16])
def test_nobodys_next_frame_waits_for_many_others_sound(rows: int) -> None:
    stage = Stage()
    for _ in range(rows):
        stage.join(1_000)
    for _ in range(200):
        stage.step()
    assert max(stage.codec.calls) <= 1.25 * CODEC_FRAMES  # some are a frame or two late


def test_all_who_begin_together_are_heard_soon() -> None:
    stage = Stage()
    for _ in range(16):
        stage.join(1_000)
    for _ in range(5):
        stage.step()
    assert {gaps[0] for gaps in stage.gaps.values()} == {4, 5}


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
