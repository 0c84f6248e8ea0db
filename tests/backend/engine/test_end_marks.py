"""The reference's transcript and the text never run into each other."""

# ruff: noqa: RUF001 - the punctuation of several scripts
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.contract import SpeechRequest
from backend.end_marks import ended
from tests.backend.conftest import TRANSCRIPT, load, spoken
from tests.backend.engine.speaking import speak
from tests.support.buzz import buzz

if TYPE_CHECKING:
    from pathlib import Path

    from backend.contract import ConsentRecord
    from backend.engine.engine import Engine


@pytest.mark.parametrize(
    ("transcript", "whole"),
    [
        ("before the paint has time to dry", "before the paint has time to dry."),
        ("wait,", "wait."),
        ("apples etc.,", "apples etc."),
        ("and then –", "and then."),
        ("(tomorrow)", "(tomorrow)."),
        ("50%", "50%."),
        ("今天天气很好", "今天天气很好。"),
        ("行きましょう、", "行きましょう。"),
        ("산책을 갑시다", "산책을 갑시다."),
        ("コーヒー", "コーヒー。"),
        ("時々", "時々。"),
        ("пойдём гулять", "пойдём гулять."),
    ],
)
def test_a_transcript_gets_the_end_mark_that_it_lacks(transcript: str, whole: str) -> None:
    assert ended(transcript) == whole


@pytest.mark.parametrize(
    "transcript",
    [
        "Good morning.",
        "Really?!",
        "well…",
        "“Yes!”",
        "(So he said.) ",
        "散歩に行きましょう。",
        "走吧！」",
    ],
)
def test_a_transcript_with_an_end_mark_stays_as_it_is(transcript: str) -> None:
    assert ended(transcript) == transcript


@given(st.text(max_size=40))
def test_ending_twice_changes_nothing(transcript: str) -> None:
    assert ended(ended(transcript)) == ended(transcript)


def tokens_of(engine: Engine, transcript: str, consent: ConsentRecord) -> list[int]:
    prompt = engine.make_prompt(buzz(110), transcript, consent)
    return list(engine.read(SpeechRequest("Good morning.", prompt)).transcript)


def test_the_text_begins_after_an_end_mark(engine: Engine, consent: ConsentRecord) -> None:
    unended, whole = TRANSCRIPT.removesuffix("."), TRANSCRIPT
    assert unended != whole
    assert tokens_of(engine, unended, consent) == tokens_of(engine, whole, consent)
    assert tokens_of(engine, f"{unended}<|im_end|>", consent) == tokens_of(engine, whole, consent)
    assert tokens_of(engine, whole, consent) == engine.embedder.tokenize(whole), "as the package"


def test_the_packages_own_loop_gets_it_as_well(
    quick_greedy_checkpoint: Path, consent: ConsentRecord
) -> None:
    plain = load(quick_greedy_checkpoint, plain_package=True)
    requests = [
        SpeechRequest("A sentence.", plain.make_prompt(buzz(110), words, consent), "English")
        for words in (TRANSCRIPT.removesuffix("."), TRANSCRIPT)
    ]
    unended, whole = map(spoken, speak(plain, requests))
    assert len(whole)
    np.testing.assert_array_equal(unended, whole)
