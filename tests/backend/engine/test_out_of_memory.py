"""If memory runs out in the middle of a step, the older requests hear what they would have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from backend.contract import BackendBusyError, ConsentRecord, SpeechRequest
from backend.engine.code_predictor import CodePredictor
from backend.engine.codec.decoder import CodecDecoder
from backend.engine.prefill_plan import PrefillPlan
from backend.engine.talker import CodecHead, Talker
from backend.watermark.watermark import MarkingStream, Watermarker
from tests.backend.conftest import spoken
from tests.backend.engine.speaking import Ahead, sentences, speak

if TYPE_CHECKING:
    from backend.engine.engine import Engine

ROWS = 5

FIRST_SEED = 26
"""With these, all sentences last for longer than the frames in which memory runs out."""


@pytest.fixture(scope="module")
def requests(engine: Engine, consent: ConsentRecord) -> list[SpeechRequest]:
    return sentences(engine, consent, ROWS, first_seed=FIRST_SEED)


@pytest.fixture(scope="module")
def expected(engine: Engine, requests: list[SpeechRequest]) -> list[Any]:
    speech = [spoken(each) for each in speak(engine, requests)]
    assert min(map(len, speech)) >= 12 * 1_920
    return speech


@pytest.mark.parametrize("is_ahead", [False, True])
@pytest.mark.parametrize(
    ("owner", "method", "call"),
    [
        (Talker, "prefill_whole", 1),
        (Talker, "prefill_whole", 2),  # when some of the newer half speak already
        (CodePredictor, "predict", 5),
        (Talker, "decode_step", 5),
        (CodecHead, "sample", 2),  # at the end of a prefill
        (CodecHead, "sample", 12),  # at the end of a step
        (CodecDecoder, "open", 2),
        (CodecDecoder, "decode", 1),
        (CodecDecoder, "decode", 3),
    ],
)
def test_the_newer_half_ends_and_the_others_hear_all(
    engine: Engine,
    requests: list[SpeechRequest],
    expected: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    method: str,
    call: int,
    is_ahead: bool,
) -> None:
    fail_once(monkeypatch, owner, method, call)
    assert_the_newer_half_ends(speak(Ahead(engine) if is_ahead else engine, requests), expected)


@pytest.mark.parametrize("call", [1, 2, 4])
def test_so_it_is_in_the_middle_of_prompts_that_are_read_in_parts(
    engine: Engine,
    requests: list[SpeechRequest],
    expected: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    call: int,
) -> None:
    fail_once(monkeypatch, Talker, "prefill", call)
    plan = PrefillPlan(positions=16, idle_positions=16, rows=8, least_share=0.5)
    assert_the_newer_half_ends(speak(Ahead(engine, prefill=plan), requests), expected)


def fail_once(monkeypatch: pytest.MonkeyPatch, owner: Any, method: str, call: int) -> None:
    """Let memory run out in a call of a method."""
    original, calls = getattr(owner, method), []

    def failing(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == call:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return original(*args)

    monkeypatch.setattr(owner, method, failing)


def assert_the_newer_half_ends(results: list[Any], expected: list[Any]) -> None:
    """The others must hear all."""
    *older, last_but_one, last = results
    assert isinstance(last_but_one, BackendBusyError)
    assert isinstance(last, BackendBusyError)
    for row, speech in enumerate(older):
        np.testing.assert_allclose(spoken(speech), expected[row], atol=1e-3)


@pytest.mark.parametrize(("method", "rows"), [("push", 2), ("finish", 1)])
def test_speech_that_finds_no_memory_for_its_mark_ends_alone(
    marking_engine: Engine,
    requests: list[SpeechRequest],
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    rows: int,
) -> None:
    expected = speak(marking_engine, requests)
    original = getattr(Watermarker, method)
    victims: list[MarkingStream] = []

    def failing(watermarker: Watermarker, streams: Any, *pieces: Any) -> Any:
        if not victims and len(streams) >= rows:
            victims.append(streams[-1])
        if {*victims} & {*streams}:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return original(watermarker, streams, *pieces)

    monkeypatch.setattr(Watermarker, method, failing)
    results = speak(marking_engine, requests)
    (failed,) = [row for row, each in enumerate(results) if isinstance(each, BackendBusyError)]
    for row in {*range(ROWS)} - {failed}:
        np.testing.assert_allclose(spoken(results[row]), spoken(expected[row]), atol=1e-3)


def test_a_single_request_that_finds_no_memory_is_a_crash(
    engine: Engine, requests: list[SpeechRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    monkeypatch.setattr(CodecDecoder, "decode", fail)
    with pytest.raises(torch.OutOfMemoryError):
        speak(engine, requests[:1])
