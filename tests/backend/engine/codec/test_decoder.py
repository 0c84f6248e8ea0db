"""The codec in memory that never moves: captured calls, slots, and the package's own decode.

No GPU is needed: what a call does can be noted and done again on a CPU too (see `recording`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backend.contract import SpeechRequest
from backend.engine.chunk_plan import CPU_PLAN, GPU_PLAN, MOST_FRAMES
from backend.engine.codec.decoder import CodecDecoder
from backend.engine.codec.graphs import CodecGraphs, CodecSize, usual_calls
from backend.watermark.watermark import MarkingStream
from tests.backend.conftest import spoken
from tests.backend.engine.recording import Recorder
from tests.backend.engine.speaking import Ahead, speak, stream
from tests.support.operations import work_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from backend.contract import VoicePrompt
    from backend.engine.codec.decoder import CodecRow
    from backend.engine.engine import Engine

FRAME = 1_920
SECONDS = FRAME / 24_000
TOLERANCE = 1e-9  # in double precision, so that any error but rounding shows
SIZES = [CodecSize(rows, frames) for rows in (1, 4) for frames in (1, 3, 4)]
REFERENCES = (0, 40, 3, 7)
LONGEST = 60


class Captured:
    """A codec whose calls are replayed.

    Args:
        decoder: The package's decoder.
        sizes: What is captured.
        accidents: As for `Recorder`.
    """

    def __init__(self, decoder: Any, sizes: Sequence[CodecSize] = SIZES, **accidents: Any) -> None:
        self.codec = CodecDecoder(decoder, rows=4)
        self.recorder = Recorder(self.codec.step, CodecSize, **accidents)
        self.told = self.codec.capture(self.recorder, sizes)
        self.recorder.run.clear()
        self.recorder.replayed.clear()


@pytest.fixture(scope="module")
def decoder(greedy_engine: Engine) -> Any:
    """The package's decoder, in double precision."""
    codec = greedy_engine.package_model.model.speech_tokenizer.model
    decoder = type(codec.decoder)(codec.config.decoder_config).eval().double()
    decoder.load_state_dict(codec.decoder.state_dict())
    return decoder


@pytest.fixture(scope="module")
def captured(decoder: Any) -> Captured:
    return Captured(decoder)


@pytest.fixture(scope="module")
def codes(decoder: Any) -> list[torch.Tensor]:
    """Of each row, its reference and its speech."""
    random = torch.Generator().manual_seed(0)
    lengths = [reference + LONGEST for reference in REFERENCES]
    return [
        torch.randint(256, (length, decoder.config.num_quantizers), generator=random)
        for length in lengths
    ]


@pytest.fixture(scope="module")
def speech(decoder: Any, codes: list[torch.Tensor]) -> list[torch.Tensor]:
    """What the package makes of the codes in one pass, without the reference."""
    with torch.inference_mode():
        whole = [decoder(each.T[None])[0, 0] for each in codes]
    return [each[-LONGEST * FRAME :] for each in whole]


def open_row(codec: CodecDecoder, codes: torch.Tensor, reference: int) -> CodecRow:
    return codec.open(codes[:reference])


CALLS = st.lists(
    st.tuples(
        st.sets(st.integers(0, len(REFERENCES) - 1), min_size=1),
        st.integers(1, 11),
        st.booleans(),  # whether the rows' order is turned round
    ),
    min_size=1,
    max_size=7,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(calls=CALLS, order=st.permutations(range(len(REFERENCES))), is_replayed=st.booleans())
def test_rows_that_are_decoded_in_any_pieces_equal_one_decode(
    captured: Captured,
    codes: list[torch.Tensor],
    speech: list[torch.Tensor],
    calls: list[tuple[set[int], int, bool]],
    order: list[int],
    is_replayed: bool,
) -> None:
    codec, graphs = captured.codec, captured.codec.graphs
    codec.clear()
    opened = {row: open_row(codec, codes[row], REFERENCES[row]) for row in order}
    said = dict.fromkeys(opened, 0)
    captured.recorder.run.clear()
    codec.graphs = graphs if is_replayed else None
    try:
        for chosen, frames, is_turned in calls:
            rows = sorted(row for row in chosen if said[row] + frames <= LONGEST)
            rows = rows[::-1] if is_turned else rows
            if not rows:
                continue
            piece = torch.stack([_next(codes, row, said[row], frames) for row in rows])
            samples = codec.decode([opened[row] for row in rows], piece)
            for row, ours in zip(rows, samples, strict=True):
                start = said[row] * FRAME
                expected = speech[row][start : start + frames * FRAME]
                torch.testing.assert_close(ours, expected, atol=TOLERANCE, rtol=0)
                said[row] += frames
    finally:
        codec.graphs = graphs
    assert bool(captured.recorder.run) != is_replayed or not any(said.values())


def _next(codes: list[torch.Tensor], row: int, said: int, frames: int) -> torch.Tensor:
    start = REFERENCES[row] + said
    return codes[row][start : start + frames]


def test_a_call_of_any_length_is_replayed_in_captured_pieces(
    captured: Captured, codes: list[torch.Tensor]
) -> None:
    codec, recorder = captured.codec, captured.recorder
    codec.clear()
    rows = [open_row(codec, each, 0) for each in codes[:3]]
    recorder.replayed.clear()
    recorder.run.clear()
    codec.decode(rows, torch.stack([each[:7] for each in codes[:3]]))
    assert recorder.replayed == [CodecSize(4, 4), CodecSize(4, 3)]
    assert recorder.run == []


@pytest.mark.parametrize("how", ["fails_at", "distorts"])
def test_a_size_that_cannot_be_captured_is_run(
    decoder: Any, codes: list[torch.Tensor], speech: list[torch.Tensor], how: str
) -> None:
    sizes, failed = [CodecSize(1, 2), CodecSize(1, 8)], CodecSize(1, 8)
    captured = Captured(decoder, sizes, **{how: [failed]})
    assert "1 of 2 sizes captured" in captured.told
    reason = "RuntimeError" if how == "fails_at" else "states differ by"
    assert f"1 by 8: {reason}" in captured.told
    row = open_row(captured.codec, codes[1], REFERENCES[1])
    parts = [_next(codes, 1, 0, 5), _next(codes, 1, 5, 8)]
    said = torch.cat([captured.codec.decode([row], part[None])[0] for part in parts])
    torch.testing.assert_close(said, speech[1][: 13 * FRAME], atol=TOLERANCE, rtol=0)
    # Five frames are no sum of twos; eight are.
    assert captured.recorder.run == [CodecSize(1, 5)]
    assert captured.recorder.replayed == [CodecSize(1, 2)] * 4


def test_if_nothing_can_be_captured_all_is_run(decoder: Any, codes: list[torch.Tensor]) -> None:
    captured = Captured(decoder, SIZES[:2], fails_at=SIZES)
    assert captured.told.startswith("0 of 2 sizes captured; not captured: 1 by 1: RuntimeError")
    row = open_row(captured.codec, codes[0], 0)
    captured.codec.decode([row], codes[0][None, :3])
    assert captured.recorder.run == [CodecSize(1, 3)]


def test_a_lost_gpu_is_no_size_that_failed(decoder: Any) -> None:
    lost = RuntimeError("CUDA error: device-side assert triggered")
    with pytest.raises(RuntimeError, match="device-side assert"):
        Captured(decoder, SIZES[:1], fails_at=SIZES, error=lost)


def test_a_reference_is_decoded_once_whoever_names_it(
    decoder: Any, engine: Engine, prompt: VoicePrompt
) -> None:
    prepared = engine.prepare(SpeechRequest("Hello.", prompt))
    assert prepared.reference is not None
    assert len(prepared.reference) == 2 * prepared.reference_codes.numel()
    reference = torch.zeros(20, decoder.config.num_quantizers, dtype=torch.long)
    name = reference.to(torch.int16).numpy().tobytes()
    codec = CodecDecoder(decoder, rows=4)
    decoding = work_of(lambda: codec.open(reference, name)).operations
    assert work_of(lambda: codec.open(reference, name)).operations < decoding / 4
    assert work_of(lambda: codec.open(reference)).operations < decoding / 4
    assert work_of(lambda: codec.open(reference[:10], name[: len(name) // 2])).operations > (
        decoding / 4
    )


def test_a_slot_that_was_freed_says_nothing_of_the_row_before(
    captured: Captured, codes: list[torch.Tensor], speech: list[torch.Tensor]
) -> None:
    codec = captured.codec
    codec.clear()
    rows = [open_row(codec, each, 0) for each in codes]
    with pytest.raises(RuntimeError, match="in use"):
        open_row(codec, codes[0], 0)
    nonsense = torch.stack([each[-11:] for each in codes])
    nonsense[2, 3, 1] = -1  # failed
    samples = codec.decode(rows, nonsense)
    assert samples[[0, 1, 3]].isfinite().all()
    assert samples[2].isnan().any()
    codec.close(rows[2])
    codec.close(rows[2])  # once more does no harm
    with pytest.raises(RuntimeError, match="freed"):
        codec.decode(rows, nonsense)
    again = open_row(codec, codes[1], REFERENCES[1])
    said = codec.decode([again, rows[0]], torch.stack([_next(codes, 1, 0, 8), nonsense[0, :8]]))
    torch.testing.assert_close(said[0], speech[1][: 8 * FRAME], atol=TOLERANCE, rtol=0)


def test_a_call_that_finds_no_memory_has_changed_nothing(
    decoder: Any,
    codes: list[torch.Tensor],
    speech: list[torch.Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    codec = CodecDecoder(decoder, rows=2)
    rows = [open_row(codec, codes[row], REFERENCES[row]) for row in (1, 2)]
    parts = [torch.stack([_next(codes, row, at, 6) for row in (1, 2)]) for at in (0, 6)]
    said = [codec.decode(rows, parts[0])]
    last = decoder.decoder[-1].conv

    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "baddbmm", fail)
        patch.setattr(last, "forward", fail)
        with pytest.raises(torch.OutOfMemoryError):
            codec.decode(rows, parts[1])
    said.append(codec.decode(rows, parts[1]))
    for row, ours in zip((1, 2), torch.cat(said, dim=1), strict=True):
        torch.testing.assert_close(ours, speech[row][: 12 * FRAME], atol=TOLERANCE, rtol=0)


def test_a_gpus_chunks_from_captured_calls_are_the_same_speech(
    engine: Engine, prompt: VoicePrompt, x_vector_prompt: VoicePrompt
) -> None:
    candidates = [
        SpeechRequest("A sentence.", [prompt, x_vector_prompt][seed % 2], seed=seed)
        for seed in range(8)
    ]
    everything = [spoken(each) for each in speak(engine, candidates)]
    longest = sorted(range(8), key=lambda number: len(everything[number]))[-3:]
    requests = [candidates[number] for number in longest]
    expected = [everything[number] for number in longest]
    decoder = engine.package_model.model.speech_tokenizer.model.decoder
    sizes = [CodecSize(rows, frames) for rows in (1, 4) for frames in GPU_PLAN.captured]
    captured = Captured(decoder, sizes)
    ahead = Ahead(engine, codec=captured.codec, plan=GPU_PLAN)
    chunks: list[list[NDArray[np.float32]]] = [[] for _ in requests]
    for chunk in stream(ahead, requests):
        chunks[chunk.row].append(chunk.samples)
    for pieces, speech in zip(chunks, expected, strict=True):
        np.testing.assert_allclose(np.concatenate(pieces), speech, atol=1e-3)
        *lengths, rest = [len(piece) // FRAME for piece in pieces[:-1]]
        assert lengths == [GPU_PLAN.chunk_frames(number) for number in range(len(lengths))]
        assert 0 < rest <= GPU_PLAN.later_chunks
        assert len(lengths) > len(GPU_PLAN.first_chunks)
    assert captured.recorder.run == []
    assert {size.frames for size in captured.recorder.replayed} >= {2, 3, 4, 8}


def test_a_call_has_few_operations_whatever_its_size(captured: Captured) -> None:
    counts = captured.recorder.operations.values()
    assert len(counts) == len(SIZES)
    assert max(counts) < 450
    assert max(counts) - min(counts) < 5


@given(rows=st.integers(1, 64), frames=st.integers(1, 3 * MOST_FRAMES))
def test_any_number_of_frames_is_a_sum_of_few_captured_ones(rows: int, frames: int) -> None:
    sizes = usual_calls(GPU_PLAN, rows)
    graphs = CodecGraphs(lambda _step: print, dict.fromkeys(sizes, print))
    pieces = graphs.pieces(1, frames)
    assert sum(pieces) == frames
    assert len(pieces) <= frames // GPU_PLAN.later_chunks + 2


@pytest.mark.parametrize("rows", [1, 2, 6, 16, 64])
def test_all_calls_of_live_speech_are_captured(rows: int) -> None:
    sizes = usual_calls(GPU_PLAN, rows)
    assert len(set(sizes)) == len(sizes)
    assert max(size.rows for size in sizes) <= rows
    graphs = CodecGraphs(lambda _step: print, dict.fromkeys(sizes, print))
    for frames in GPU_PLAN.chunks:
        for count in range(1, min(rows, GPU_PLAN.rows_at_once(frames, rows)) + 1):
            assert graphs.pieces(count, frames) == [frames]
            size = graphs.size_for(count, frames)
            assert size is not None
            assert size.rows < 2 * count or size.rows == rows


def test_the_first_chunk_on_a_gpu_is_the_shortest_that_can_be_heard() -> None:
    first = GPU_PLAN.first_chunks[0]
    assert (first - 1) * SECONDS < MarkingStream.DELAY_SECONDS < first * SECONDS


def test_on_a_gpu_playback_never_runs_dry() -> None:
    said, heard_from = 0, 0
    for chunk in range(20):
        frames = GPU_PLAN.chunk_frames(chunk)
        if chunk:
            playable = said * SECONDS - MarkingStream.DELAY_SECONDS
            pace = playable / (said + frames - heard_from)
            assert pace > (0.0125 if chunk == 1 else 0.03)
        said += frames
        heard_from = heard_from or said
    assert max(GPU_PLAN.first_chunks) <= GPU_PLAN.later_chunks < MOST_FRAMES
    assert CPU_PLAN.later_chunks + 2 * CPU_PLAN.spare_frames < MOST_FRAMES
