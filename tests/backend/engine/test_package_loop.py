"""The plain package instead of our loop: the same speech."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, get_args

import numpy as np
import pytest

from backend.contract import (
    LanguageNotSupportedError,
    SpeechRequest,
    SpeechRunsOnError,
)
from backend.engine.interface import TextLayout
from tests.backend.conftest import TRANSCRIPT, load, spoken
from tests.backend.engine.speaking import speak
from tests.support.buzz import buzz

if TYPE_CHECKING:
    from pathlib import Path

    from backend.contract import ConsentRecord, VoicePrompt
    from backend.engine.engine import Engine


@pytest.fixture(scope="module")
def plain_engine(quick_greedy_checkpoint: Path) -> Engine:
    return load(quick_greedy_checkpoint, plain_package=True)


@pytest.fixture(scope="module")
def requests(plain_engine: Engine, consent: ConsentRecord) -> list[SpeechRequest]:
    in_context = plain_engine.make_prompt(buzz(110), TRANSCRIPT, consent)
    voice_alone = plain_engine.make_prompt(buzz(240), None, consent)
    return [
        SpeechRequest("A sentence <|im_end|> of one kind.", in_context, "English"),
        SpeechRequest("Und ein anderer.", voice_alone, "German"),
    ]


@pytest.mark.parametrize("layout", get_args(TextLayout))
def test_both_say_the_same(
    quick_greedy_checkpoint: Path, requests: list[SpeechRequest], layout: TextLayout
) -> None:
    plain, ours = (
        speak(load(quick_greedy_checkpoint, plain_package=is_plain, text_layout=layout), requests)
        for is_plain in (True, False)
    )
    for theirs, our in zip(map(spoken, plain), map(spoken, ours), strict=True):
        assert len(theirs) - len(our) in {0, 1}  # the package's rounding may leave a sample
        np.testing.assert_allclose(our, theirs[-len(our) :], atol=1e-3)


def test_requests_are_spoken_one_after_the_other(
    plain_engine: Engine, requests: list[SpeechRequest]
) -> None:
    loop = plain_engine.open(2)
    first, second = map(loop.add, requests)
    with pytest.raises(ValueError, match="rows are in use"):
        loop.add(requests[0])
    steps = [[chunk.row for chunk in loop.step()] for _ in range(3)]
    assert steps == [[first, first], [second, second], []]
    assert loop.rows == 0


def test_a_request_that_is_removed_is_not_spoken(
    plain_engine: Engine, requests: list[SpeechRequest]
) -> None:
    loop = plain_engine.open(2)
    first, second = map(loop.add, requests)
    loop.remove(first)
    loop.remove(first)
    assert {chunk.row for chunk in loop.step()} == {second}


def test_an_invalid_request_is_refused_at_once(
    plain_engine: Engine, requests: list[SpeechRequest]
) -> None:
    with pytest.raises(LanguageNotSupportedError):
        plain_engine.open(1).add(replace(requests[0], language="Klingon"))


def test_the_same_seed_says_the_same(checkpoint: Path, prompt: VoicePrompt) -> None:
    engine = load(checkpoint, plain_package=True)
    request = SpeechRequest("A seed decides.", prompt, seed=7)
    first, again, other = map(spoken, speak(engine, [request, request, replace(request, seed=8)]))
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()


def test_speech_without_an_end_fails(endless_engine: Engine, consent: ConsentRecord) -> None:
    package_model = endless_engine.package_model
    engine = type(endless_engine)(
        package_model,
        replace(endless_engine.info(), loop="reference"),
        require_consent=True,
        watermark=None,
        cuda_graphs=False,
    )
    prompt = engine.make_prompt(buzz(110), None, consent)
    (result,) = speak(engine, [SpeechRequest("No end.", prompt, max_new_tokens=9)])
    assert isinstance(result, SpeechRunsOnError)
