"""Steps that are recorded and replayed, as on a GPU, where a CUDA graph is what is recorded.

No GPU is needed: torch can write down every operation of a step on a CPU too. What is replayed then
is just that, on the same memory, as a CUDA graph does it: no Python runs again, no size changes,
and a step that looked at a value on its way could not be recorded at all.
"""

from __future__ import annotations

import gc
import logging
import weakref
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from backend.engine.batch import Decoder
from backend.engine.cuda_graphs import checked_recorder, choose_recorder
from tests.backend.engine.decoding import company, speak

if TYPE_CHECKING:
    from collections.abc import Callable

    from backend.engine.batch import DecoderRow
    from backend.engine.engine import Engine

WHEN = {"first": range(25), "early": range(2, 9), "short": range(4, 12), "late": range(7, 25)}


class Recorder:
    """Writes down what a step does.

    Attributes:
        recorded: How many steps were.
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


def _tensors_of(decoder: Any) -> list[torch.Tensor]:
    parts = [decoder._memory, decoder._states]
    return [each for part in parts for each in vars(part).values() if torch.is_tensor(each)]


def test_what_is_replayed_says_the_same_as_what_is_run(other_engine: Engine) -> None:
    rows = company(other_engine, WHEN)
    recorder = Recorder()
    replaying = Decoder(other_engine._parts, rows=4, frames=64, recorder=recorder)
    said = speak(replaying, rows, WHEN)
    expected = speak(Decoder(other_engine._parts, rows=4, frames=64), rows, WHEN)
    assert {name: len(codes) for name, codes in said.items()} == {
        name: len(when) for name, when in WHEN.items()
    }
    for name, codes in said.items():
        assert torch.equal(codes, expected[name])
    assert recorder.recorded == 3  # for one, two and four rows: three are four


def test_it_is_recorded_anew_when_memory_has_moved(other_engine: Engine) -> None:
    rows = company(other_engine, [f"with {number} words" for number in range(6)])
    short, *_, long = rows
    when = {short: range(12), long: range(3, 9)}  # of which the second makes room for its text
    recorder = Recorder()
    said = speak(Decoder(other_engine._parts, rows=2, frames=64, recorder=recorder), rows, when)
    expected = speak(Decoder(other_engine._parts, rows=2, frames=64), rows, when)
    assert all(torch.equal(said[name], expected[name]) for name in when)
    assert recorder.recorded == 3  # for one row, for two, and again for one


def test_it_is_recorded_anew_when_another_decoder_has_moved_what_they_share(
    other_engine: Engine,
) -> None:
    rows = company(other_engine, ["one", "other"])
    expected = speak(decoder_of(other_engine), rows, {"one": range(12)})["one"]
    decoder = decoder_of(other_engine, Recorder())
    row = decoder.join(*rows["one"])
    said = next_frames(decoder, 6)[row]

    talker = other_engine._parts.talker
    before = talker._cosines
    request, draws = rows["other"]
    times = -(-(len(before) + 1) // len(request.inputs))
    long = replace(request, inputs=request.inputs.repeat(times, 1))
    other = decoder_of(other_engine)
    other.join(long, draws)
    next_frames(other, times)
    assert talker._cosines is not before
    with torch.inference_mode():
        before.fill_(torch.nan)  # on a GPU it now belongs to somebody else

    said += next_frames(decoder, 6)[row]
    assert torch.equal(torch.stack(said), expected)


@pytest.mark.parametrize("recorder", [None, Recorder(), lambda _step: None])
def test_who_drops_a_decoder_has_its_memory_back_at_once(
    other_engine: Engine, recorder: Any
) -> None:
    rows = company(other_engine, ["only"])
    decoder = decoder_of(other_engine, recorder)
    memory = weakref.ref(decoder._memory)
    decoder.join(*rows["only"])
    next_frames(decoder, 4)
    gc.disable()
    try:
        del decoder
        assert memory() is None
    finally:
        gc.enable()


def decoder_of(engine: Engine, recorder: Any = None) -> Decoder:
    return Decoder(engine._parts, rows=4, frames=64, recorder=recorder)


def next_frames(decoder: Decoder, frames: int) -> dict[DecoderRow, list[torch.Tensor]]:
    said: dict[DecoderRow, list[torch.Tensor]] = defaultdict(list)
    for _ in range(frames):
        decoder.choose_first_codes()
        for row, codes in decoder.make_frames():
            said[row].append(codes)
    return said


def test_a_recorder_that_works_is_used(
    other_engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert checked_recorder(other_engine._parts, Recorder()) is not None
    assert "CUDA graphs are on: replayed states differ by 0" in caplog.text


def fail(_step: object) -> Callable[[], None]:
    raise RuntimeError("operation not permitted when stream is capturing")


def test_a_recorder_that_fails_is_not_used(
    other_engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    assert checked_recorder(other_engine._parts, fail) is None
    assert "CUDA graphs are off: recording failed with RuntimeError" in caplog.text


def test_a_recorder_that_fails_later_holds_nobody_up(
    other_engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    def record(step: Callable[[], None]) -> Callable[[], None]:
        return fail(step) if broken else step

    broken = False
    recorder = checked_recorder(other_engine._parts, record)
    broken = True
    rows, when = company(other_engine, ["only"]), {"only": range(9)}
    said = speak(Decoder(other_engine._parts, rows=1, frames=64, recorder=recorder), rows, when)
    expected = speak(Decoder(other_engine._parts, rows=1, frames=64), rows, when)
    assert torch.equal(said["only"], expected["only"])
    assert "was not recorded (RuntimeError)" in caplog.text


@pytest.mark.parametrize("forgotten", ["everything", "keys and values"])
def test_a_recorder_that_replays_something_else_is_not_used(
    other_engine: Engine, caplog: pytest.LogCaptureFixture, forgotten: str
) -> None:
    def forgetful(step: Any) -> Callable[[], None]:
        memory = step.func.__self__._memory

        def replay() -> None:
            if forgotten == "everything":
                return
            step()
            for each in vars(memory).values():
                if torch.is_tensor(each):
                    each.zero_()

        return replay

    assert checked_recorder(other_engine._parts, forgetful) is None
    assert "CUDA graphs are off: replayed states differ" in caplog.text


def test_a_recorder_that_goes_on_in_memory_that_has_moved_is_not_used(
    other_engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    record, recorded = Recorder(), {}

    def stale(step: Any) -> Callable[[], object]:
        if step.args not in recorded:
            recorded[step.args] = record(step)
        return recorded[step.args]

    assert checked_recorder(other_engine._parts, stale) is None
    assert "CUDA graphs are off: replayed states differ" in caplog.text


def test_there_are_no_graphs_without_a_gpu(other_engine: Engine) -> None:
    assert choose_recorder(other_engine._parts, is_wanted=True) is None
    assert not other_engine.info().cuda_graphs
