"""Speech goes out at one loudness, without clipping. pyloudnorm measures it."""

from __future__ import annotations

import time
import warnings
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.audio.loudness import (
    CEILING,
    TARGET_LOUDNESS,
    Limiter,
    LoudnessMeter,
    level,
    slices,
    to_float,
    to_pcm,
)
from tests.support.loudness import integrated_loudness
from tests.support.recordings import speech

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE = 24_000


def lufs(pcm: bytes, sample_rate: int = RATE) -> float:
    return integrated_loudness(to_float(pcm), sample_rate)


def peak(pcm: bytes) -> float:
    return float(np.abs(to_float(pcm)).max(initial=0.0))


def spoken(seconds: float, decibels: float = 0.0) -> bytes:
    """Real speech, so many decibels louder than the recording."""
    return to_pcm(speech(seconds) * np.float32(10 ** (decibels / 20)))


def with_pause(pcm: bytes) -> bytes:
    return pcm + bytes(2 * round(0.3 * RATE))


@pytest.mark.parametrize("sample_rate", [16_000, 22_050, 24_000, 48_000])
def test_measures_like_another_meter(sample_rate: int) -> None:
    random = np.random.default_rng(sample_rate)
    envelope = np.repeat(random.choice([0.0005, 0.02, 0.2], 24), sample_rate // 4)
    noise = (random.standard_normal(len(envelope)) * envelope).astype(np.float32)
    meter = LoudnessMeter(sample_rate)
    for piece in slices(noise, sample_rate):
        meter.push(piece)
    assert meter.loudness == pytest.approx(integrated_loudness(noise, sample_rate), abs=0.2)


@pytest.mark.parametrize("decibels", [-14, -6, 0, 3])
@pytest.mark.parametrize("seconds", [0.7, 2.0, 9.0])
def test_files_have_the_same_loudness(seconds: float, decibels: float) -> None:
    pcm = spoken(seconds, decibels)
    [leveled] = level([pcm], RATE)
    assert lufs(leveled) == pytest.approx(TARGET_LOUDNESS, abs=1.0)
    assert peak(leveled) <= CEILING + 1e-4
    assert len(leveled) == len(pcm)


def test_speech_with_high_peaks_is_limited_and_still_loud() -> None:
    samples = speech(6.0) * np.float32(0.3)
    samples[::RATE] = 0.95  # a click each second
    [leveled] = level([to_pcm(samples)], RATE)
    assert peak(leveled) <= CEILING + 1e-4
    assert lufs(leveled) == pytest.approx(TARGET_LOUDNESS, abs=1.0)


def test_sentences_of_a_file_have_the_same_loudness() -> None:
    differing = [with_pause(spoken(3.0, decibels)) for decibels in (-3, 2, 0, -2)]
    leveled = level(differing, RATE)
    assert [lufs(pcm) for pcm in leveled] == pytest.approx([TARGET_LOUDNESS] * 4, abs=1.0)
    assert lufs(b"".join(leveled)) == pytest.approx(TARGET_LOUDNESS, abs=1.0)


def test_nothing_pumps_within_a_sentence() -> None:
    """Where the limiter has nothing to do, all of a sentence has the same gain."""
    random = np.random.default_rng(1)
    before = noise(random, 4 * RATE, 0.1) * np.repeat(random.choice([0.3, 1.0], 40), RATE // 10)
    after = to_float(level([to_pcm(before)], RATE)[0])
    loud = np.abs(before) > 0.005
    gains = after[loud] / before[loud]
    assert gains.std() < 0.01 * gains.mean()


@pytest.mark.parametrize("seconds", [0.05, 0.3, 1.0, 4.0])
def test_silence_and_noise_stay_as_they_are(seconds: float) -> None:
    silence = bytes(2 * round(seconds * RATE))
    noise = np.random.default_rng(1).integers(-20, 21, len(silence) // 2).astype("<i2").tobytes()
    assert peak(level([silence], RATE)[0]) == 0
    assert peak(level([noise], RATE)[0]) < 0.003, "at most what a usual voice gets"
    if seconds >= 0.4:
        assert level([silence, noise], RATE) == [silence, noise]


@pytest.mark.parametrize("seconds", [0.1, 0.3, 0.6, 0.9])
@pytest.mark.parametrize("expected", [None, -20.0])
def test_a_short_faint_word_is_not_blown_up(seconds: float, expected: float | None) -> None:
    breath = spoken(seconds, -30)
    [leveled] = level([breath], RATE, expected=expected)
    assert peak(leveled) <= peak(breath) * 10 ** (14.5 / 20)


def test_a_word_between_sentences_has_their_gain() -> None:
    sentence, word = with_pause(spoken(4.0, -4)), with_pause(spoken(0.5, -9))
    first, between, last = level([sentence, word, sentence], RATE)
    assert lufs(first) == pytest.approx(lufs(last), abs=0.1)
    assert lufs(between) - lufs(word) == pytest.approx(lufs(first) - lufs(sentence), abs=1.0)


@given(
    st.lists(st.integers(0, 40_000), min_size=1, max_size=4),
    st.floats(0, 1.0),
    st.sampled_from([8_000, 24_000, 48_000]),
    st.none() | st.floats(-60, 0),
)
@settings(max_examples=25, deadline=None)
def test_any_speech_can_be_leveled(
    lengths: list[int], amplitude: float, sample_rate: int, expected: float | None
) -> None:
    random = np.random.default_rng(sum(lengths))
    sentences = [to_pcm(noise(random, length, amplitude)) for length in lengths]
    leveled = level(sentences, sample_rate, expected=expected)
    assert [len(pcm) for pcm in leveled] == [len(pcm) for pcm in sentences]
    assert all(peak(pcm) <= CEILING + 1e-3 for pcm in leveled)


def noise(random: np.random.Generator, length: int, amplitude: float) -> NDArray[np.float32]:
    return random.uniform(-amplitude, amplitude, length).astype(np.float32)


def test_the_limiter_gives_back_as_many_samples() -> None:
    limiter = Limiter(RATE)
    samples = noise(np.random.default_rng(1), 10_000, 2.0)
    limited = np.concatenate([limiter.push(samples[:100]), limiter.push(samples[100:])])
    late = len(samples) - len(limited)
    assert 0 < late <= 0.02 * RATE
    assert len(limiter.finish()) == late
    assert np.abs(limited).max() <= CEILING + 1e-4


def test_a_long_speech_is_measured_at_little_cost() -> None:
    """A stream's loudness is asked for with each chunk, so that must not take ever longer."""
    meter, minute = LoudnessMeter(8_000), speech(60.0)[::3].copy()
    for _ in range(20):
        meter.push(minute)
    expected = meter.loudness
    started = time.thread_time()
    for chunk in np.split(minute, 750):
        meter.push(chunk)
        assert meter.estimate(-20.0) == pytest.approx(expected, abs=0.1)
    assert time.thread_time() - started < 1.0


@pytest.fixture(autouse=True)
def clipped_warnings_are_not_ours() -> None:
    warnings.filterwarnings("ignore", "Possible clipped samples", UserWarning)
