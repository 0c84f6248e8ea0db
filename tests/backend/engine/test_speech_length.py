"""How long the speech of a text may be, and when it is over."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.engine.speech_length import EndDetector, token_limit

FRAMES_PER_SECOND = 12.5
FRAME_SAMPLES = 1_920


@pytest.mark.parametrize(
    ("text_tokens", "asked", "limit"),
    [
        (1, 2_048, 62),
        (16, 2_048, 242),
        (100, 2_048, 1_250),
        (600, 2_048, 2_048),
        (1, 50, 50),
        (1, 1, 1),
    ],
)
def test_speech_is_bounded_by_the_length_of_its_text(
    text_tokens: int, asked: int, limit: int
) -> None:
    assert token_limit(text_tokens, asked) == limit


@given(text_tokens=st.integers(1, 500), asked=st.integers(1, 2_048))
def test_the_limit_grows_with_the_text_and_leaves_time_to_read_it_slowly(
    text_tokens: int, asked: int
) -> None:
    limit = token_limit(text_tokens, asked)
    assert limit <= token_limit(text_tokens + 1, asked) <= asked
    slow = 0.9 * text_tokens + 3  # seconds: two syllables for each token, and a long breath
    assert limit >= min(asked, slow * FRAMES_PER_SECOND)


def sound(seconds: float, level: float = 0.1) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    frames = round(seconds * FRAMES_PER_SECOND)
    noise = np.random.default_rng(frames).normal(scale=level, size=frames * FRAME_SAMPLES)
    return noise.astype(np.float32)


def kept_seconds(
    ending: EndDetector, *parts: np.ndarray[tuple[int], np.dtype[np.float32]]
) -> float:
    kept = sum(len(ending.push(part, len(part) // FRAME_SAMPLES)) for part in parts)
    return kept / FRAME_SAMPLES / FRAMES_PER_SECOND


@pytest.mark.parametrize("hiss", [0.0, 0.0005])
def test_near_silence_after_the_text_is_its_end(hiss: float) -> None:
    ending = EndDetector(text_tokens=10)
    assert kept_seconds(ending, sound(4.0), sound(1.6, hiss)) == pytest.approx(5.6)
    assert not ending.is_over
    assert kept_seconds(ending, sound(1.6, hiss)) == pytest.approx(0)
    assert ending.is_over


def test_some_of_the_silence_is_kept_as_the_pause_of_the_sentence() -> None:
    ending = EndDetector(text_tokens=10)
    kept = kept_seconds(ending, np.concatenate([sound(4.0), sound(3.2, 0.0)]))
    assert ending.is_over
    assert kept == pytest.approx(4.32)


def test_a_pause_within_the_speech_is_not_its_end() -> None:
    ending = EndDetector(text_tokens=10)
    parts = [sound(3.2), sound(2.0, 0.0), sound(1.6), sound(2.0, 0.0), sound(1.6)]
    assert kept_seconds(ending, *parts) == pytest.approx(10.4)
    assert not ending.is_over


def test_silence_before_the_text_can_have_been_said_is_not_its_end() -> None:
    ending = EndDetector(text_tokens=40)
    kept_seconds(ending, sound(3.2), sound(8.0, 0.0))
    assert not ending.is_over
    assert not EndDetector(text_tokens=1).is_over


def test_a_constant_level_is_silence() -> None:
    ending = EndDetector(text_tokens=2)
    constant = np.full(40 * FRAME_SAMPLES, 0.3, np.float32)
    kept_seconds(ending, sound(1.6), constant)
    assert ending.is_over
