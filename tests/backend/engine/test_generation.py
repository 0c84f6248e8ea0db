"""Which chunks are decoded when: the generation loop with a scripted batch and codec."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, cast

import pytest
import torch

from backend.engine.chunk_plan import CPU_PLAN, GPU_PLAN
from backend.engine.generation import GenerationLoop
from backend.engine.prompt_embeds import PreparedRequest
from backend.engine.transfers import HostSamples
from backend.watermark.watermark import MarkingStream
from bot.playback.source import BYTES_PER_SECOND, SpeechSource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backend.contract import SpeechRequest
    from backend.engine.speech_row import SpeechRow

CODE_GROUPS = 2
END = 1
FRAME_SAMPLES = 10
FRAME_SECONDS = 0.08
HELD_BACK = MarkingStream.DELAY_SECONDS / FRAME_SECONDS
"""Frames that the watermark holds back."""


class ScriptedBatch:
    """Like `backend.engine.batch.Batch`; a row has as many frames as its prompt has positions."""

    capacity = 64
    end_of_speech = END

    def __init__(self, *, is_ahead: bool) -> None:
        self.is_ahead = is_ahead
        self._left: dict[SpeechRow, int] = {}

    def add(self, row: SpeechRow) -> None:
        self._left[row] = len(row.request.inputs)

    def remove(self, row: SpeechRow) -> None:
        del self._left[row]

    def next_codes(self) -> list[tuple[SpeechRow, int]]:
        return [(row, 0 if left else END) for row, left in self._left.items()]

    def decode_step(self) -> list[tuple[SpeechRow, torch.Tensor]]:
        for row in self._left:
            self._left[row] -= 1
        return [(row, torch.zeros(CODE_GROUPS, dtype=torch.long)) for row in self._left]


class LateSamples(HostSamples):
    """Samples that arrive only when they, or later ones, are waited for.

    Args:
        samples: The samples.
        begun: All samples of a codec so far, in order.
    """

    def __init__(self, samples: torch.Tensor, begun: list[LateSamples]) -> None:
        super().__init__(samples)
        self.has_arrived = False
        self._begun = begun
        begun.append(self)

    def is_ready(self) -> bool:
        return self.has_arrived

    def wait(self) -> None:
        for each in self._begun[: self._begun.index(self) + 1]:
            each.has_arrived = True


class ScriptedCodec:
    """Like `backend.engine.codec.CodecDecoder`.

    Args:
        is_late: Whether samples do not arrive by themselves.

    Attributes:
        calls: The frames of all rows in each call.
    """

    frames_per_second = 12.5

    def __init__(self, *, is_late: bool) -> None:
        self.calls: list[int] = []
        self._is_late = is_late
        self._begun: list[LateSamples] = []

    def open(self, _reference: object, _name: object) -> object:
        return object()

    def decode(self, states: list[object], codes: torch.Tensor) -> torch.Tensor:
        self.calls.append(codes.shape[0] * codes.shape[1])
        assert len(states) == len(codes)
        return torch.linspace(-1, 1, codes.shape[1] * FRAME_SAMPLES).expand(len(codes), -1)

    def begin_reading(self, samples: torch.Tensor) -> HostSamples:
        return LateSamples(samples, self._begun) if self._is_late else HostSamples(samples)

    def clear(self) -> None:
        """There is nothing to clear."""

    def close(self, _row: object) -> None:
        """There is nothing to free."""


class Run:
    """A generation loop, and the chunks that it makes.

    Args:
        is_gpu: Whether it is as on a GPU whose samples are always waited for.

    Attributes:
        codec: The loop's codec.
        gaps: For each row, the frames until its first chunk, and from then on between chunks.
        decoded: For each row, how many frames its chunks hold.
        paces: For each row and chunk, from the third on: how long a frame may take, as a part of
            the time that it lasts, if a player that begins with the second chunk is not to wait.
        rows_of_steps: For each step, the rows of its chunks, in order.
    """

    def __init__(self, *, is_gpu: bool = False) -> None:
        self.codec = ScriptedCodec(is_late=is_gpu)
        self._loop = GenerationLoop(
            cast("Any", self._prepare),
            cast("Any", ScriptedBatch(is_ahead=is_gpu)),
            cast("Any", self.codec),
            watermark=None,
            plan=GPU_PLAN if is_gpu else CPU_PLAN,
        )
        self._last: dict[int, int] = {}
        self._frame = 0
        self.gaps: defaultdict[int, list[int]] = defaultdict(list)
        self.decoded: defaultdict[int, int] = defaultdict(int)
        self.paces: defaultdict[int, list[float]] = defaultdict(list)
        self.rows_of_steps: list[list[int]] = []

    @property
    def rows(self) -> int:
        return self._loop.rows

    def add(self, frames: int) -> int:
        number = self._loop.add(cast("SpeechRequest", frames))
        self._last[number] = self._frame
        return number

    def step(self) -> None:
        self._frame += 1
        self.rows_of_steps.append([])
        for chunk in self._loop.step():
            self.rows_of_steps[-1].append(chunk.row)
            row, gaps = chunk.row, self.gaps[chunk.row]
            if not chunk.is_last:
                gaps.append(self._frame - self._last[row])
                self._last[row] = self._frame
            if len(gaps) > 2:
                self.paces[row].append((self.decoded[row] - HELD_BACK) / sum(gaps[2:]))
            self.decoded[row] += len(chunk.samples) // FRAME_SAMPLES

    @staticmethod
    def _prepare(frames: int) -> PreparedRequest:
        nothing = torch.zeros(0)
        return PreparedRequest(
            torch.zeros(frames), nothing, nothing, text_tokens=99, max_tokens=2_048
        )


def added_one_by_one(rows: int) -> Iterator[bool]:
    yield from (True for _ in range(rows))
    yield from (False for _ in range(200))


@pytest.mark.parametrize(
    ("rows", "longest_gap", "slowest"), [(1, 20, 0.6), (8, 20, 0.6), (16, 20, 0.4), (64, 28, 0.28)]
)
def test_every_row_has_a_chunk_every_few_frames(
    rows: int, longest_gap: int, slowest: float
) -> None:
    run = Run()
    for is_added in added_one_by_one(rows):
        if is_added:
            run.add(1_000)
        run.step()
    assert max(gap for gaps in run.gaps.values() for gap in gaps) <= longest_gap
    assert {gaps[-1] for gaps in run.gaps.values()} == {CPU_PLAN.later_chunks}
    assert min(pace for paces in run.paces.values() for pace in paces) > slowest


@pytest.mark.parametrize("pace", [0.1, 0.3, 0.55])
def test_speech_that_is_played_while_it_is_made_has_no_gap(
    pace: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("time.perf_counter", lambda: now)
    run, source = Run(), SpeechSource()
    row = run.add(120)
    fed = 0
    for frame in range(120):
        while now < frame * pace * FRAME_SECONDS:
            source.read()
            now += 0.02
        run.step()
        ready = max(0, run.decoded[row] - HELD_BACK) * FRAME_SECONDS
        length = round(ready * BYTES_PER_SECOND / 4) * 4
        source.feed(bytes(length - fed))
        fed = length
    assert source.underruns == 0
    assert source.position > 0.8 * (now - 20 * pace * FRAME_SECONDS) * BYTES_PER_SECOND


@pytest.mark.parametrize("rows", [1, 8, 16])
def test_no_frame_waits_for_many_chunks_of_others(rows: int) -> None:
    run = Run()
    for _ in range(rows):
        run.add(1_000)
    for _ in range(200):
        run.step()
    assert max(run.codec.calls) <= 1.25 * CPU_PLAN.call_frames  # some are a frame or two late


def test_rows_that_begin_together_all_have_a_chunk_soon() -> None:
    run = Run()
    for _ in range(16):
        run.add(1_000)
    for _ in range(5):
        run.step()
    assert {gaps[0] for gaps in run.gaps.values()} == {4, 5}


def test_the_first_chunk_of_a_new_row_goes_first() -> None:
    run = Run()
    for _ in range(12):
        run.add(1_000)
        run.step()
    new_rows = []
    for _ in range(10):
        new_rows.append(run.add(1_000))
        for _ in range(7):
            run.step()
    assert all(run.gaps[new_row][0] <= 5 for new_row in new_rows)


def test_new_rows_without_end_do_not_keep_an_older_one_waiting() -> None:
    run = Run()
    older = run.add(1_000)
    for _ in range(400):
        run.add(16)
        run.step()
    assert max(run.gaps[older]) <= 2 * CPU_PLAN.later_chunks + 1
    assert run.decoded[older] >= 400 - 2 * CPU_PLAN.later_chunks


@pytest.mark.parametrize("rows", [1, 16, 64])
def test_every_row_on_a_gpu_has_a_chunk_every_few_frames(rows: int) -> None:
    run = Run(is_gpu=True)
    for is_added in added_one_by_one(rows):
        if is_added:
            run.add(1_000)
        run.step()
    assert {gaps[0] for gaps in run.gaps.values()} == {4}  # a step after the third frame
    assert max(gap for gaps in run.gaps.values() for gap in gaps) <= GPU_PLAN.later_chunks + 4
    assert len(run.gaps) == rows


def test_rows_that_begin_together_on_a_gpu_do_not_fall_behind() -> None:
    run = Run(is_gpu=True)
    for _ in range(64):
        run.add(1_000)
    for _ in range(200):
        run.step()
    assert max(gaps[0] for gaps in run.gaps.values()) <= 8
    assert min(run.decoded.values()) >= 200 - 2 * GPU_PLAN.later_chunks


def test_a_first_chunk_on_a_gpu_is_marked_before_those_of_others() -> None:
    run = Run(is_gpu=True)
    for _ in range(12):
        run.add(1_000)
        run.step()
    for _ in range(10):
        for _ in range(7):
            run.step()
        new = run.add(1_000)
        while not run.gaps[new]:
            run.step()
        assert run.rows_of_steps[-1][0] == new
    assert any(len(rows) > 1 for rows in run.rows_of_steps if rows and rows[0] >= 12)


@pytest.mark.parametrize("is_gpu", [False, True])
def test_every_frame_is_decoded_once(is_gpu: bool) -> None:
    run = Run(is_gpu=is_gpu)
    lengths = {run.add(frames): frames for frames in range(1, 40)}
    while run.rows:
        run.step()
    assert run.decoded == lengths
