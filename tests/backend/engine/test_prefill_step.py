"""Prompts whose prefill is captured before anybody speaks, and replayed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

from backend.engine.batch import Batch
from backend.engine.prefill_step import PrefillSize
from tests.backend.engine.decoding import batch_of, decode, different_requests, step_of
from tests.backend.engine.recording import Recorder

if TYPE_CHECKING:
    from backend.engine.engine import Engine

SIZES = [PrefillSize(1, positions) for positions in (64, 128, 256)]
WHEN = {"first": range(20), "early": range(2, 9), "short": range(4, 12), "late": range(7, 20)}


@pytest.mark.parametrize("is_ahead", [False, True])
def test_replayed_prompts_give_the_same_codes_as_prompts_that_are_run(
    other_engine: Engine, is_ahead: bool
) -> None:
    requests = different_requests(other_engine, WHEN)
    step = step_of(other_engine)
    recorder = Recorder(step.prefill, PrefillSize)
    step.prefill.capture(recorder, SIZES)
    assert sorted(recorder.captured) == SIZES
    run_before = list(recorder.run)
    recorder.replayed.clear()
    said = decode(Batch(step, is_ahead=is_ahead), requests, WHEN)
    expected = decode(batch_of(other_engine), requests, WHEN)
    assert len(recorder.replayed) == len(requests)
    assert recorder.run == run_before
    assert all(torch.equal(said[name], expected[name]) for name in WHEN)


def test_a_prompt_that_is_longer_than_all_that_were_captured_is_run(other_engine: Engine) -> None:
    (request,) = different_requests(other_engine, ["long"]).values()
    times = 1 + 600 // len(request.inputs)
    requests = {"long": replace(request, inputs=request.inputs.repeat(times, 1))}
    step = step_of(other_engine)
    recorder = Recorder(step.prefill, PrefillSize)
    step.prefill.capture(recorder, SIZES)
    recorder.replayed.clear()
    said = decode(Batch(step), requests, {"long": range(9)})
    expected = decode(batch_of(other_engine), requests, {"long": range(9)})
    assert not recorder.replayed
    assert torch.equal(said["long"], expected["long"])


def test_a_size_that_cannot_be_captured_costs_that_size_alone(other_engine: Engine) -> None:
    requests = different_requests(other_engine, WHEN)
    step = step_of(other_engine)
    recorder = Recorder(step.prefill, PrefillSize, fails_at=SIZES[:1], distorts=SIZES[1:2])
    graphs = step.prefill.capture(recorder, SIZES)
    assert "a prompt of 64: RuntimeError" in str(graphs)
    said = decode(Batch(step), requests, WHEN)
    expected = decode(batch_of(other_engine), requests, WHEN)
    assert all(torch.equal(said[name], expected[name]) for name in WHEN)
