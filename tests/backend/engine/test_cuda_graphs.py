"""Decode steps that are recorded and replayed, as CUDA graphs are on a GPU.

No GPU is needed: torch can trace every operation of a step on a CPU too. The trace is replayed on
the same memory, as a CUDA graph is: no Python runs again, no size changes, and a step that read a
value on the way could not be recorded at all.
"""

from __future__ import annotations

import gc
import weakref
from collections import defaultdict
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from backend.engine.batch import Row, trial_states
from backend.engine.cuda_graphs import checked_recorder
from tests.backend.conftest import load
from tests.backend.engine.decoding import batch_of, decode, different_requests

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from backend.engine.batch import Batch
    from backend.engine.engine import Engine

WHEN = {"first": range(25), "early": range(2, 9), "short": range(4, 12), "late": range(7, 25)}


class Recorder:
    """Traces a step.

    Attributes:
        recorded: How many steps were recorded.
    """

    def __init__(self) -> None:
        self.recorded = 0

    def __call__(self, step: Any) -> Callable[[], object]:
        self.recorded += 1
        memory = _tensors_of(step.func.__self__)
        kept = [each.clone() for each in memory]
        program = make_fx(step)()
        for each, value in zip(memory, kept, strict=True):  # a CUDA graph is recorded, not run
            each.copy_(value)
        return program


def _tensors_of(batch: Any) -> list[torch.Tensor]:
    parts = [batch._cache, batch._state]
    return [each for part in parts for each in vars(part).values() if torch.is_tensor(each)]


def test_replayed_steps_give_the_same_codes_as_steps_that_are_run(other_engine: Engine) -> None:
    requests = different_requests(other_engine, WHEN)
    recorder = Recorder()
    said = decode(batch_of(other_engine, recorder=recorder), requests, WHEN)
    expected = decode(batch_of(other_engine), requests, WHEN)
    assert {name: len(codes) for name, codes in said.items()} == {
        name: len(when) for name, when in WHEN.items()
    }
    for name, codes in said.items():
        assert torch.equal(codes, expected[name])
    assert recorder.recorded == 3  # for one, two and four rows: three are four


def test_steps_are_recorded_again_when_memory_has_moved(other_engine: Engine) -> None:
    requests = different_requests(other_engine, [f"with {number} words" for number in range(6)])
    short, *_, long = requests
    when = {short: range(12), long: range(3, 9)}  # the second needs more room for its text
    recorder = Recorder()
    said = decode(batch_of(other_engine, rows=2, recorder=recorder), requests, when)
    expected = decode(batch_of(other_engine, rows=2), requests, when)
    assert all(torch.equal(said[name], expected[name]) for name in when)
    assert recorder.recorded == 3  # for one row, for two, and again for one


def test_steps_are_recorded_again_when_another_batch_has_moved_shared_memory(
    other_engine: Engine,
) -> None:
    requests = different_requests(other_engine, ["one", "other"])
    expected = decode(batch_of(other_engine), requests, {"one": range(12)})["one"]
    batch, row = batch_of(other_engine, recorder=Recorder()), Row(requests["one"])
    batch.add(row)
    said = next_frames(batch, 6)[row]

    talker = other_engine.parts.talker
    before = talker._cosines
    request = requests["other"]
    times = -(-(len(before) + 1) // len(request.inputs))
    other = batch_of(other_engine)
    other.add(Row(replace(request, inputs=request.inputs.repeat(times, 1))))
    next_frames(other, times)
    assert talker._cosines is not before
    with torch.inference_mode():
        before.fill_(torch.nan)  # on a GPU it may be in other use by now

    said += next_frames(batch, 6)[row]
    assert torch.equal(torch.stack(said), expected)


@pytest.mark.parametrize("recorder", [None, Recorder(), lambda _step: None])
def test_the_memory_of_a_batch_is_freed_with_its_last_reference(
    other_engine: Engine, recorder: Any
) -> None:
    requests = different_requests(other_engine, ["only"])
    batch = batch_of(other_engine, recorder=recorder)
    cache = weakref.ref(batch._cache)
    batch.add(Row(requests["only"]))
    next_frames(batch, 4)
    gc.disable()
    try:
        del batch
        assert cache() is None
    finally:
        gc.enable()


def next_frames(batch: Batch[Row], frames: int) -> dict[Row, list[torch.Tensor]]:
    said: dict[Row, list[torch.Tensor]] = defaultdict(list)
    for _ in range(frames):
        batch.next_codes()
        for row, codes in batch.decode_step():
            said[row].append(codes)
    return said


def checked(engine: Engine, recorder: Any) -> Any:
    return checked_recorder(recorder, partial(trial_states, engine.parts))


def test_a_recorder_that_works_is_used(other_engine: Engine) -> None:
    recorder, reason = checked(other_engine, Recorder())
    assert recorder is not None
    assert reason == "replayed states differ by 0"


def fail(_step: object) -> Callable[[], None]:
    raise RuntimeError("operation not permitted when stream is capturing")


def test_a_recorder_that_fails_is_not_used(other_engine: Engine) -> None:
    assert checked(other_engine, fail) == (None, "recording failed with RuntimeError")


def test_a_step_that_cannot_be_recorded_later_is_run(
    other_engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    def record(step: Callable[[], None]) -> Callable[[], None]:
        return fail(step) if broken else step

    broken = False
    recorder, _ = checked(other_engine, record)
    broken = True
    requests, when = different_requests(other_engine, ["only"]), {"only": range(9)}
    said = decode(batch_of(other_engine, rows=1, recorder=recorder), requests, when)
    expected = decode(batch_of(other_engine, rows=1), requests, when)
    assert torch.equal(said["only"], expected["only"])
    assert "was not recorded (RuntimeError)" in caplog.text


@pytest.mark.parametrize("forgotten", ["everything", "keys and values"])
def test_a_recorder_that_replays_something_else_is_not_used(
    other_engine: Engine, forgotten: str
) -> None:
    def forgetful(step: Any) -> Callable[[], None]:
        cache = step.func.__self__._cache

        def replay() -> None:
            if forgotten == "everything":
                return
            step()
            for each in vars(cache).values():
                if torch.is_tensor(each):
                    each.zero_()

        return replay

    recorder, reason = checked(other_engine, forgetful)
    assert recorder is None
    assert reason.startswith("replayed states differ by ")


def test_a_recorder_that_goes_on_in_memory_that_has_moved_is_not_used(
    other_engine: Engine,
) -> None:
    record, recorded = Recorder(), {}

    def stale(step: Any) -> Callable[[], object]:
        if step.args not in recorded:
            recorded[step.args] = record(step)
        return recorded[step.args]

    recorder, reason = checked(other_engine, stale)
    assert recorder is None
    assert reason.startswith("replayed states differ by ")


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
