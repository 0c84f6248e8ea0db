"""Requests that are spoken together: what each gets, and when."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from backend.contract import SpeechRequest
from backend.engine.code_predictor import CodePredictor
from backend.engine.codec.decoder import CodecDecoder
from backend.watermark.watermark import Watermarker
from tests.backend.conftest import load, spoken
from tests.backend.engine.speaking import speak, stream
from tests.backend.watermark.marking import mark
from tests.support.buzz import buzz
from tests.support.operations import work_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from backend.contract import ConsentRecord, VoicePrompt
    from backend.engine.engine import Engine
    from backend.engine.interface import SpeechChunk

FRAME = 1_920
TOLERANCE = 1e-3  # of full scale: float32 through the codec, in batches of different sizes


@pytest.fixture(scope="module")
def requests(prompt: VoicePrompt, x_vector_prompt: VoicePrompt) -> list[SpeechRequest]:
    """Sentences in two voices and two languages, whose prompts are all read at once."""
    return [
        SpeechRequest("The first of them.", prompt, "English", seed=3),
        SpeechRequest("Und die zweite hier.", x_vector_prompt, "German", seed=5),
        SpeechRequest("A third, a little longer than the others are.", x_vector_prompt, seed=8),
        SpeechRequest("And the fourth.", x_vector_prompt, seed=8),
    ]


@pytest.fixture(scope="module")
def speeches(engine: Engine, requests: list[SpeechRequest]) -> list[NDArray[np.float32]]:
    """What each request sounds like; all differ in length."""
    speeches = [spoken(speech) for speech in speak(engine, requests)]
    assert len({len(speech) for speech in speeches}) == len(requests)
    return speeches


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each frame was made for, as it goes."""
    made: list[int] = []
    predict = CodePredictor.predict

    def counting(
        self: CodePredictor, hidden: torch.Tensor, *rest: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        made.append(len(hidden))
        return predict(self, hidden, *rest)

    monkeypatch.setattr(CodePredictor, "predict", counting)
    return made


def joined(chunks: Iterator[SpeechChunk]) -> dict[int, NDArray[np.float32]]:
    said: dict[int, list[NDArray[np.float32]]] = defaultdict(list)
    for chunk in chunks:
        assert chunk.error is None
        assert not chunk.restarts
        said[chunk.row].append(chunk.samples)
    return {row: np.concatenate(samples) for row, samples in said.items()}


def assert_same(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> None:
    assert len(ours) == len(theirs)
    np.testing.assert_allclose(ours, theirs, atol=TOLERANCE)


def test_a_row_is_the_same_alone_and_with_others(
    engine: Engine, requests: list[SpeechRequest], speeches: list[NDArray[np.float32]]
) -> None:
    for request, expected in zip(requests, speeches, strict=True):
        (alone,) = speak(engine, [request])
        assert_same(spoken(alone), expected)


def test_the_chunks_add_up_to_the_speech(
    engine: Engine, requests: list[SpeechRequest], speeches: list[NDArray[np.float32]]
) -> None:
    streamed = joined(stream(engine, requests))
    for row, expected in enumerate(speeches):
        assert_same(streamed[row], expected)


def test_a_new_loop_says_nothing_of_the_one_before_which_is_of_no_use_then(
    engine: Engine, requests: list[SpeechRequest], speeches: list[NDArray[np.float32]]
) -> None:
    older = stream(engine, requests[1:])
    next(older)
    (said,) = speak(engine, requests[:1])
    assert_same(spoken(said), speeches[0])
    with pytest.raises(RuntimeError, match="another batch"):
        list(older)


def test_the_same_seed_says_the_same_and_another_does_not(
    engine: Engine, requests: list[SpeechRequest]
) -> None:
    request = requests[0]
    first, again, other = map(spoken, speak(engine, [request, request, replace(request, seed=8)]))
    assert_same(first, again)
    assert first.tobytes() != other.tobytes()


def test_without_a_seed_it_never_says_the_same_twice(
    engine: Engine, requests: list[SpeechRequest]
) -> None:
    unseeded = replace(requests[0], seed=None)
    first, again = (next(stream(engine, [unseeded])).samples for _ in range(2))
    assert first.tobytes() != again.tobytes()


def test_the_first_chunk_comes_long_before_speech_is_complete(
    engine: Engine, requests: list[SpeechRequest], steps: list[int]
) -> None:
    chunks = stream(engine, requests[:1])
    chunk = next(chunks)
    assert len(steps) == 4
    assert len(chunk.samples) >= 4 * FRAME
    chunks.close()


def test_a_chunk_comes_every_few_frames(engine: Engine, requests: list[SpeechRequest]) -> None:
    lengths = [len(chunk.samples) // FRAME for chunk in stream(engine, requests[2:3])]
    *begin, rest, nothing = lengths
    assert (begin, nothing) == ([4, 4, 8, 12, 20, 20], 0)
    assert 0 < rest <= 20


def test_a_first_chunk_goes_first_and_no_row_waits_long(
    endless_engine: Engine, consent: ConsentRecord
) -> None:
    prompt = endless_engine.make_prompt(buzz(110), None, consent)
    loop = endless_engine.open(12)
    speaking = {loop.add(SpeechRequest(f"Speaker {number}.", prompt)) for number in range(8)}
    for _ in range(34):  # by now the first 28 frames of all are decoded
        deque(loop.step(), maxlen=0)
    new = loop.add(SpeechRequest("A new request.", prompt))
    chunks = [chunk for _ in range(40) for chunk in loop.step()]
    rows = [chunk.row for chunk in chunks]
    assert rows[0] == new
    assert rows.index(new) < min(map(rows.index, speaking))
    assert max(len(chunk.samples) for chunk in chunks) <= 28 * FRAME


def test_a_row_that_ends_early_is_complete_at_once(
    engine: Engine,
    requests: list[SpeechRequest],
    speeches: list[NDArray[np.float32]],
    steps: list[int],
) -> None:
    ended_at = {chunk.row: len(steps) for chunk in stream(engine, requests) if chunk.is_last}
    assert ended_at == {row: len(speech) // FRAME for row, speech in enumerate(speeches)}
    assert list(ended_at) == sorted(ended_at, key=ended_at.__getitem__)


def test_rows_that_have_ended_cost_nothing_more(
    engine: Engine,
    requests: list[SpeechRequest],
    speeches: list[NDArray[np.float32]],
    steps: list[int],
) -> None:
    speak(engine, requests)
    assert sum(steps) == sum(len(speech) // FRAME for speech in speeches)


def test_a_cancelled_row_costs_nothing_more_and_the_others_go_on(
    engine: Engine,
    requests: list[SpeechRequest],
    speeches: list[NDArray[np.float32]],
    steps: list[int],
) -> None:
    longest = max(range(len(requests)), key=lambda row: len(speeches[row]))
    cancelled: set[int] = set()
    said: dict[int, list[NDArray[np.float32]]] = defaultdict(list)
    for chunk in stream(engine, requests, is_cancelled=cancelled.__contains__):
        said[chunk.row].append(chunk.samples)
        assert not (chunk.row == longest and chunk.is_last)
        cancelled.add(longest)
    others = [row for row in range(len(requests)) if row != longest]
    for row in others:
        assert_same(np.concatenate(said[row]), speeches[row])
    assert len(steps) == max(len(speeches[row]) // FRAME for row in others)
    assert steps[6] == len(requests) - 1


def test_when_all_are_cancelled_the_stream_ends(
    engine: Engine, requests: list[SpeechRequest], steps: list[int]
) -> None:
    assert list(stream(engine, requests, is_cancelled=lambda _row: True)) == []
    assert steps == []


def test_an_empty_batch_is_nothing(engine: Engine) -> None:
    assert speak(engine, []) == []


def test_a_minute_in_a_chunk_costs_what_it_did_at_the_start(engine: Engine) -> None:
    decoder = engine.package_model.model.speech_tokenizer.model.decoder
    codec = CodecDecoder(decoder)
    state = codec.open(torch.zeros(0, 4, dtype=torch.long))
    codes = torch.randint(256, (1, 8, 4))

    chunks = [work_of(lambda: codec.decode([state], codes)) for _ in range(100)]  # 64 s of speech
    assert set(chunks) == {chunks[0]}
    assert chunks[0].numbers > 8 * FRAME


def test_every_waveform_is_marked(
    checkpoint: Path, requests: list[SpeechRequest], speeches: list[NDArray[np.float32]]
) -> None:
    watermarker = Watermarker()
    marking_engine = load(checkpoint, watermark=watermarker)
    streamed = joined(stream(marking_engine, requests))
    for row, plain in enumerate(speeches):
        assert len(streamed[row]) == len(plain)
        assert_same(streamed[row], mark(watermarker, plain))
        assert np.abs(streamed[row] - plain).max() > TOLERANCE
