from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.audio.joining import (
    PARAGRAPH_PAUSE_SECONDS,
    SENTENCE_PAUSE_SECONDS,
    JoinedSpeech,
    SpeechJoiner,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE = 24_000
LOUD = 1_000


def quiet(seconds: float, noise: int = 3) -> NDArray[np.int16]:
    """Near-silence, as recordings have it."""
    random = np.random.default_rng(1)
    return random.integers(-noise, noise + 1, round(seconds * RATE)).astype("<i2")


def voice(seconds: float) -> NDArray[np.int16]:
    """Something loud from its first sample to its last."""
    wave = np.cos(np.arange(round(seconds * RATE)) / RATE * 2 * np.pi * 200)
    return (wave * 8_000).astype("<i2")


def sentence(before: float, seconds: float, after: float) -> bytes:
    return np.concatenate([quiet(before), voice(seconds), quiet(after)]).tobytes()


def heard(speech: JoinedSpeech) -> NDArray[np.int16]:
    return np.frombuffer(speech.pcm, "<i2")


def pauses(speech: JoinedSpeech) -> list[float]:
    """Seconds between stretches of sound, longer than any gap within the test voice."""
    (loud,) = np.nonzero(np.abs(heard(speech)) > LOUD)
    gaps = np.diff(loud) / speech.sample_rate
    return [float(gap) for gap in gaps if gap > 0.02]


def test_pauses_sound_the_same_whatever_silence_surrounds_a_sentence() -> None:
    joiner = SpeechJoiner(RATE)
    for before, after in [(0, 0), (1, 0.3), (0.02, 2), (0.5, 0.01)]:
        joiner.add(sentence(before, 1, after))

    assert pauses(joiner.joined()) == pytest.approx([SENTENCE_PAUSE_SECONDS] * 3, abs=0.03)


def test_a_paragraph_ends_with_a_longer_pause() -> None:
    joiner = SpeechJoiner(RATE)
    joiner.add(sentence(0.2, 1, 0.2))
    joiner.add(sentence(0.2, 1, 0.2), ends_paragraph=True)
    joiner.add(sentence(0.2, 1, 0.2), ends_paragraph=True)

    assert pauses(joiner.joined()) == pytest.approx(
        [SENTENCE_PAUSE_SECONDS, PARAGRAPH_PAUSE_SECONDS], abs=0.03
    )


def test_breaks_lie_in_the_middle_of_the_pauses() -> None:
    joiner = SpeechJoiner(RATE)
    for _ in range(3):
        joiner.add(sentence(0.4, 1, 0.1))
    speech = joiner.joined()

    assert len(speech.breaks) == 2
    reach = round(RATE * (SENTENCE_PAUSE_SECONDS / 2 - 0.03))
    for place in speech.breaks:
        around = heard(speech)[place - reach : place + reach]
        assert np.abs(around).max() < LOUD


def test_nothing_clicks() -> None:
    joiner = SpeechJoiner(RATE)
    for _ in range(3):
        joiner.add(sentence(0, 0.5, 0))  # loud to the very edge
    speech = heard(joiner.joined())

    steepest_in_the_voice = np.abs(np.diff(voice(0.5).astype(int))).max()
    assert np.abs(np.diff(speech.astype(int), prepend=0, append=0)).max() <= steepest_in_the_voice


def test_soft_endings_stay() -> None:
    ending = (np.sin(np.arange(round(0.2 * RATE)) / 3) * 200).astype("<i2")  # 32 dB softer
    joiner = SpeechJoiner(RATE)
    joiner.add(np.concatenate([voice(1), ending, quiet(1)]).tobytes())

    (sounding,) = np.nonzero(np.abs(heard(joiner.joined())) > 100)
    assert (sounding[-1] - sounding[0]) / RATE == pytest.approx(1.2, abs=0.03)


def test_pauses_within_a_sentence_stay() -> None:
    joiner = SpeechJoiner(RATE)
    joiner.add(np.concatenate([voice(1), quiet(0.8), voice(1)]).tobytes())

    assert pauses(joiner.joined()) == pytest.approx([0.8], abs=0.02)


@pytest.mark.parametrize("pcm", [b"", bytes(2), quiet(1).tobytes()])
def test_a_sentence_without_sound_leaves_no_gap(pcm: bytes) -> None:
    joiner = SpeechJoiner(RATE)
    joiner.add(pcm)
    joiner.add(sentence(0.2, 1, 0.2))
    joiner.add(pcm, ends_paragraph=True)
    joiner.add(sentence(0.2, 1, 0.2))
    joiner.add(pcm)

    assert pauses(joiner.joined()) == pytest.approx([PARAGRAPH_PAUSE_SECONDS], abs=0.03)
    assert len(joiner.joined().breaks) == 1


def test_without_any_sound_there_is_no_speech() -> None:
    joiner = SpeechJoiner(RATE)
    joiner.add(quiet(1).tobytes())

    assert joiner.joined() == JoinedSpeech(b"", RATE, ())


@given(
    st.lists(
        st.tuples(st.binary(max_size=400).map(lambda pcm: pcm[: len(pcm) // 2 * 2]), st.booleans()),
        max_size=6,
    ),
    st.sampled_from([8_000, 24_000, 48_000]),
)
def test_any_samples_can_be_joined(sentences: list[tuple[bytes, bool]], sample_rate: int) -> None:
    joiner = SpeechJoiner(sample_rate)
    for pcm, ends_paragraph in sentences:
        joiner.add(pcm, ends_paragraph=ends_paragraph)
    speech = joiner.joined()

    assert len(speech.pcm) % 2 == 0
    assert list(speech.breaks) == sorted(set(speech.breaks))
    assert all(0 < place < len(speech.pcm) // 2 for place in speech.breaks)
    assert len(speech.breaks) <= max(0, len(sentences) - 1)
