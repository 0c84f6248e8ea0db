"""Decode steps that are captured before anybody speaks, and replayed, as CUDA graphs on a GPU.

No GPU is needed: torch can trace every operation of a step on a CPU too. The trace is replayed on
the same memory, as a CUDA graph is: no Python runs again, no size changes, and a step that read a
value on the way could not be captured at all.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from backend.engine.batch import Batch, Row
from backend.engine.kv_cache import ROW_POSITIONS
from backend.engine.prefill_plan import CPU_PREFILL
from backend.engine.step_graphs import StepGraphs, StepSize, capture_steps, usual_sizes
from tests.backend.conftest import load
from tests.backend.engine.decoding import batch_of, decode, different_requests, step_of
from tests.backend.engine.recording import Recorder

if TYPE_CHECKING:
    from pathlib import Path

    from backend.engine.engine import Engine

WHEN = {"first": range(25), "early": range(2, 9), "short": range(4, 12), "late": range(7, 25)}
SIZES = [StepSize(rows, 512) for rows in (1, 2, 4)]


def test_replayed_steps_give_the_same_codes_as_steps_that_are_run(other_engine: Engine) -> None:
    requests = different_requests(other_engine, WHEN)
    step = step_of(other_engine)
    recorder = Recorder(step, StepSize)
    graphs = capture_steps(step, recorder, SIZES)
    run_before = list(recorder.run)
    said = decode(Batch(step, graphs=graphs), requests, WHEN)
    expected = decode(batch_of(other_engine), requests, WHEN)
    assert {name: len(codes) for name, codes in said.items()} == {
        name: len(when) for name, when in WHEN.items()
    }
    for name, codes in said.items():
        assert torch.equal(codes, expected[name])
    assert recorder.run == run_before  # all of them were replayed: three rows as four
    assert sorted(recorder.captured) == SIZES  # and none was captured meanwhile


def test_a_long_prompt_is_read_in_parts_while_others_are_replayed(other_engine: Engine) -> None:
    requests = different_requests(other_engine, ["first", "second", "third"])
    long = replace(requests["first"], inputs=requests["first"].inputs.repeat(16, 1))
    assert len(long.inputs) > 2 * CPU_PREFILL.positions
    requests["long"] = long
    when = {"first": range(16), "second": range(12), "third": range(5), "long": range(2, 16)}
    step = step_of(other_engine)
    sizes = [StepSize(rows, 1_024) for rows in (1, 2, 4)]
    recorder = Recorder(step, StepSize)
    graphs = capture_steps(step, recorder, sizes)
    said = decode(Batch(step, graphs=graphs, is_ahead=True), requests, when)
    expected = decode(batch_of(other_engine), requests, when)
    assert all(torch.equal(said[name], expected[name]) for name in when)
    assert StepSize(4, 1_024) in recorder.replayed


def test_one_batch_after_the_other_uses_the_same_graphs(other_engine: Engine) -> None:
    requests = different_requests(other_engine, ["one", "other"])
    step = step_of(other_engine, rows=2)
    recorder = Recorder(step, StepSize)
    graphs = capture_steps(step, recorder, usual_sizes(2, 512))
    older = Batch[Row](step, graphs=graphs)
    decode(older, requests, {"one": range(5)})
    older.add(Row(requests["other"]))
    older.next_codes()  # both are left there, as after a crash

    said = decode(Batch(step, graphs=graphs), requests, {"other": range(9)})
    expected = decode(batch_of(other_engine), requests, {"other": range(9)})
    assert torch.equal(said["other"], expected["other"])
    with pytest.raises(RuntimeError, match="another batch"):
        older.next_codes()


@pytest.mark.parametrize(
    ("how", "failed"), [("fails_at", SIZES[1]), ("fails_at", SIZES[2]), ("distorts", SIZES[0])]
)
def test_a_size_that_cannot_be_captured_costs_that_size_alone(
    other_engine: Engine, failed: StepSize, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    requests = different_requests(other_engine, WHEN)
    step = step_of(other_engine)
    accidents: dict[str, Any] = {how: [failed]}
    recorder = Recorder(step, StepSize, **accidents)
    graphs = capture_steps(step, recorder, SIZES)
    assert sorted([*graphs.replays, failed]) == SIZES
    assert "2 of 3 sizes captured" in str(graphs)
    reason = "RuntimeError" if how == "fails_at" else "states differ by"
    assert f"{failed}: {reason}" in str(graphs)
    assert f"the step of {failed} is not a graph" in caplog.text

    recorder.replayed.clear()
    said = decode(Batch(step, graphs=graphs), requests, WHEN)
    expected = decode(batch_of(other_engine), requests, WHEN)
    assert all(torch.equal(said[name], expected[name]) for name in WHEN)
    assert set(recorder.replayed) == set(SIZES) - {failed}


def test_if_nothing_can_be_captured_all_is_run(other_engine: Engine) -> None:
    requests = different_requests(other_engine, ["only"])
    step = step_of(other_engine, rows=2)
    graphs = capture_steps(step, Recorder(step, StepSize, fails_at=SIZES), SIZES[:2])
    assert str(graphs) == (
        "0 of 2 sizes captured; not captured: 1 by 512: RuntimeError, 2 by 512: RuntimeError"
    )
    said = decode(Batch(step, graphs=graphs), requests, {"only": range(9)})
    expected = decode(batch_of(other_engine), requests, {"only": range(9)})
    assert torch.equal(said["only"], expected["only"])


def test_capturing_does_not_go_on_with_a_gpu_that_is_lost(other_engine: Engine) -> None:
    step = step_of(other_engine, rows=1)
    lost = torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
    recorder = Recorder(step, StepSize, fails_at=SIZES, error=lost)
    with pytest.raises(torch.AcceleratorError):
        capture_steps(step, recorder, SIZES[:1])


def test_the_log_tells_how_far_capturing_is(
    other_engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    step = step_of(other_engine, rows=2)
    sizes = [StepSize(1, 512), StepSize(1, 768), StepSize(2, 512)]
    capture_steps(step, Recorder(step, StepSize, fails_at=sizes), sizes)
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]
    assert told == [
        "CUDA graphs: 1 of 3 sizes done",
        "CUDA graphs: 3 of 3 sizes done",
    ]


def test_the_usual_sizes_reach_to_the_last_row_and_position() -> None:
    sizes = usual_sizes(6, ROW_POSITIONS)
    assert {size.rows for size in sizes} == {1, 2, 4, 6}
    assert {size.positions for size in sizes} == {512, 768, 1_024, 1_536, 2_048, 4_096}
    assert len(set(sizes)) == len(sizes) == 24
    assert usual_sizes(1, 512) == [StepSize(1, 512)]
    assert {size.rows for size in usual_sizes(64, 512)} == {1, 2, 4, 8, 16, 32, 64}


sizes = st.builds(StepSize, st.integers(1, 64), st.integers(1, ROW_POSITIONS))


@given(captured=st.sets(sizes, max_size=12), wanted=sizes)
def test_a_step_is_replayed_as_the_next_larger_captured_size(
    captured: set[StepSize], wanted: StepSize
) -> None:
    graphs = StepGraphs(lambda _step: print, dict.fromkeys(captured, print))
    chosen = graphs.size_for(wanted.rows, wanted.positions)
    fitting = [
        each for each in captured if each.rows >= wanted.rows and each.positions >= wanted.positions
    ]
    if chosen is None:
        assert not fitting
    else:
        assert chosen in fitting
        assert chosen.rows == min(each.rows for each in fitting)
        assert not any(
            each.rows == chosen.rows and each.positions < chosen.positions for each in fitting
        )


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, "there is no GPU"),
        ({"cuda_graphs": False}, "switched off"),
        ({"plain_package": True}, "the reference loop has none"),
    ],
)
def test_the_engine_says_why_there_are_no_graphs(
    checkpoint: Path, options: dict[str, bool], reason: str
) -> None:
    info = load(checkpoint, **options).info()
    assert (info.cuda_graphs, info.cuda_graphs_reason) == (False, reason)
    assert f"CUDA graphs off ({reason})" in str(info)
