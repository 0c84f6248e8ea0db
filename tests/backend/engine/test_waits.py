"""A GPU always has something to do: what the program reads of it, and when.

On a CPU, the program's reading can be counted, and the steps can be launched as on a GPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from backend.contract import (
    ConsentRecord,
    GenerationFailedError,
    SpeechRequest,
)
from backend.engine.talker import Talker
from backend.engine.transfers import HostCopy, HostSamples
from tests.backend.conftest import TRANSCRIPT, load, spoken
from tests.backend.engine.speaking import Ahead, sentences, speak
from tests.support.buzz import buzz

if TYPE_CHECKING:
    from pathlib import Path

    from backend.engine.engine import Engine
    from backend.engine.generation import GenerationLoop
    from backend.watermark.watermark import Watermarker

ROWS = 5


@pytest.fixture(scope="module")
def requests(engine: Engine, consent: ConsentRecord) -> list[SpeechRequest]:
    return sentences(engine, consent, ROWS, first_seed=0)


def test_steps_that_are_launched_ahead_say_the_same(
    engine: Engine, requests: list[SpeechRequest]
) -> None:
    ahead = Ahead(engine)
    for ours, expected in zip(speak(ahead, requests), speak(engine, requests), strict=True):
        np.testing.assert_allclose(spoken(ours), spoken(expected), atol=1e-3)


def test_speech_ends_at_its_limit_when_steps_are_launched_ahead(
    endless_engine: Engine, consent: ConsentRecord
) -> None:
    prompt = endless_engine.make_prompt(buzz(110), None, consent)
    loop = Ahead(endless_engine).open(1)
    loop.add(SpeechRequest("A plain sentence.", prompt, seed=1, max_new_tokens=9))
    chunks = [chunk for _ in range(40) for chunk in loop.step()]
    assert loop.rows == 0
    assert isinstance(chunks[-1].error, GenerationFailedError)
    assert sum(len(chunk.samples) for chunk in chunks) == 2 * 8 * 1_920


def test_a_step_that_was_launched_for_a_row_that_failed_harms_nobody(
    checkpoint: Path, requests: list[SpeechRequest]
) -> None:
    engine = load(checkpoint)
    with torch.no_grad():
        engine.package_model.model.get_parameter("talker.model.norm.weight").fill_(torch.nan)
    ahead = Ahead(engine)
    assert all(isinstance(each, GenerationFailedError) for each in speak(ahead, requests[:2]))


class BusyGpu:
    """Samples that arrive only when they, or later ones, are waited for.

    Args:
        monkeypatch: Puts this in the place of what a GPU says.

    Attributes:
        told: What was waited for, in order, and what else happened.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.told: list[str] = []
        self._begun: list[HostSamples] = []
        self._arrived: set[HostSamples] = set()
        begin = HostSamples.__init__

        def init(samples: HostSamples, *args: Any) -> None:
            begin(samples, *args)
            self._begun.append(samples)

        def wait(samples: HostSamples) -> None:
            self.told.append("wait for samples")
            self._arrived.update(self._begun[: self._begun.index(samples) + 1])

        monkeypatch.setattr(HostSamples, "__init__", init)
        monkeypatch.setattr(HostSamples, "is_ready", lambda samples: samples in self._arrived)
        monkeypatch.setattr(HostSamples, "wait", wait)
        for owner, name in [
            (HostCopy, "wait"),
            *((torch.Tensor, name) for name in ("cpu", "tolist", "item", "__bool__", "__int__")),
        ]:
            monkeypatch.setattr(owner, name, _counted(self.told, name, getattr(owner, name)))


def speakers(
    engine: Engine, consent: ConsentRecord, rows: int, watermark: Watermarker | None = None
) -> GenerationLoop:
    """A loop in which so many speak for as long as they like."""
    prompt = engine.make_prompt(buzz(110), TRANSCRIPT, consent)
    loop = Ahead(engine, watermark=watermark).open(rows)
    for seed in range(rows):
        loop.add(SpeechRequest("word " * 20, prompt, seed=seed))
    begun: set[int] = set()
    while len(begun) < rows:
        begun.update(chunk.row for chunk in loop.step())
    return loop


@pytest.mark.parametrize("rows", [1, 8])
def test_the_program_waits_once_in_a_frame_and_once_more_for_samples(
    endless_engine: Engine,
    consent: ConsentRecord,
    monkeypatch: pytest.MonkeyPatch,
    rows: int,
) -> None:
    loop = speakers(endless_engine, consent, rows)
    for _ in range(4):
        list(loop.step())
    gpu = BusyGpu(monkeypatch)
    for _ in range(24):
        gpu.told.clear()
        had_chunks = bool(list(loop.step()))
        assert gpu.told == (["wait", "wait for samples"] if had_chunks else ["wait"])


@pytest.mark.parametrize("rows", [1, 8])
def test_all_marks_of_a_frame_are_waited_for_together(
    endless_engine: Engine,
    consent: ConsentRecord,
    watermarker: Watermarker,
    monkeypatch: pytest.MonkeyPatch,
    rows: int,
) -> None:
    gpu = BusyGpu(monkeypatch)
    loop = speakers(endless_engine, consent, rows, watermarker)
    marked = 0
    for _ in range(24):
        gpu.told.clear()
        if list(loop.step()):
            marked += 1
            assert gpu.told == ["wait", "wait for samples", "cpu"]
        else:
            assert gpu.told in (["wait"], ["wait", "wait for samples", "cpu"])
    assert marked > 1


def test_samples_that_arrive_by_themselves_are_not_waited_for(
    endless_engine: Engine, consent: ConsentRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = speakers(endless_engine, consent, 2)
    gpu = BusyGpu(monkeypatch)
    monkeypatch.setattr(HostSamples, "is_ready", lambda _samples: True)
    heard = sum(len(chunk.samples) for _ in range(24) for chunk in loop.step())
    assert heard > 24 * 1_920
    assert set(gpu.told) == {"wait"}


def test_samples_that_take_long_are_heard_as_if_they_had_come_at_once(
    engine: Engine, requests: list[SpeechRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = speak(engine, requests)
    gpu = BusyGpu(monkeypatch)
    for ours, at_once in zip(speak(Ahead(engine), requests), expected, strict=True):
        np.testing.assert_allclose(spoken(ours), spoken(at_once), atol=1e-3)
    assert "wait for samples" in gpu.told


def test_nobody_hears_samples_of_a_row_that_was_removed_while_they_were_on_their_way(
    engine: Engine, requests: list[SpeechRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = spoken(speak(engine, requests[1:2])[0])
    BusyGpu(monkeypatch)
    loop = Ahead(engine).open(1)
    removed = loop.add(requests[0])
    while not list(loop.step()):
        pass
    for _ in range(3):  # its second chunk was launched just now
        assert not list(loop.step())
    loop.remove(removed)
    loop.add(requests[1])
    said = []
    while loop.rows:
        for chunk in loop.step():
            assert chunk.row != removed
            said.append(chunk.samples)
    np.testing.assert_allclose(np.concatenate(said), expected, atol=1e-3)


def test_the_next_step_is_launched_before_anything_is_waited_for(
    endless_engine: Engine, consent: ConsentRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = speakers(endless_engine, consent, 1)
    gpu = BusyGpu(monkeypatch)
    monkeypatch.setattr(HostCopy, "begin", _counted(gpu.told, "copy begins", HostCopy.begin))
    monkeypatch.setattr(Talker, "decode_step", _counted(gpu.told, "step", Talker.decode_step))
    for _ in range(24):
        gpu.told.clear()
        had_chunks = bool(list(loop.step()))
        waits = ["wait", "wait for samples"] if had_chunks else ["wait"]
        assert gpu.told == ["copy begins", "step", *waits]


def _counted(told: list[str], name: str, original: Any) -> Any:
    def counted(*args: Any, **options: Any) -> Any:
        told.append(name)
        return original(*args, **options)

    return counted
