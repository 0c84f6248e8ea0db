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
from backend.engine.transfers import HostCopy
from tests.backend.conftest import TRANSCRIPT, buzz, load, spoken
from tests.backend.engine.speaking import Ahead, speak

if TYPE_CHECKING:
    from pathlib import Path

    from backend.engine.engine import Engine

ROWS = 5


@pytest.fixture(scope="module")
def requests(engine: Engine, consent: ConsentRecord) -> list[SpeechRequest]:
    prompts = [
        engine.make_prompt(buzz(100 + 30 * row), TRANSCRIPT if row % 2 else None, consent)
        for row in range(ROWS)
    ]
    return [
        SpeechRequest(f"Sentence {row}.", prompt, seed=row, max_new_tokens=400)
        for row, prompt in enumerate(prompts)
    ]


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


@pytest.mark.parametrize("rows", [1, 8])
def test_the_program_waits_once_in_a_frame_and_once_more_for_samples(
    endless_engine: Engine,
    consent: ConsentRecord,
    monkeypatch: pytest.MonkeyPatch,
    rows: int,
) -> None:
    prompt = endless_engine.make_prompt(buzz(110), TRANSCRIPT, consent)
    loop = Ahead(endless_engine).open(rows)
    for seed in range(rows):
        loop.add(SpeechRequest("word " * 20, prompt, seed=seed))
    begun: set[int] = set()
    while len(begun) < rows:
        begun.update(chunk.row for chunk in loop.step())
    for _ in range(4):
        list(loop.step())

    waits: list[str] = []
    for owner, name in [
        (HostCopy, "wait"),
        *((torch.Tensor, name) for name in ("cpu", "tolist", "item", "__bool__", "__int__")),
    ]:
        monkeypatch.setattr(owner, name, _counted(waits, name, getattr(owner, name)))
    for _ in range(24):
        waits.clear()
        had_chunks = bool(list(loop.step()))
        assert waits == (["wait", "cpu"] if had_chunks else ["wait"])


def test_the_next_step_is_launched_before_the_codes_are_waited_for(
    endless_engine: Engine, consent: ConsentRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = endless_engine.make_prompt(buzz(110), None, consent)
    loop = Ahead(endless_engine).open(1)
    loop.add(SpeechRequest("word " * 20, prompt, seed=1))
    list(loop.step())
    order: list[str] = []
    monkeypatch.setattr(HostCopy, "begin", _counted(order, "copy begins", HostCopy.begin))
    monkeypatch.setattr(HostCopy, "wait", _counted(order, "wait", HostCopy.wait))
    monkeypatch.setattr(Talker, "decode_step", _counted(order, "step", Talker.decode_step))
    list(loop.step())
    assert order == ["copy begins", "step", "wait"]


def _counted(told: list[str], name: str, original: Any) -> Any:
    def counted(*args: Any, **options: Any) -> Any:
        told.append(name)
        return original(*args, **options)

    return counted
