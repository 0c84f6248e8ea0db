"""Sentences become natural speech while they are still being made."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.audio.pauses import MARGIN_SECONDS, SENTENCE_PAUSE_SECONDS, PauseJoiner
from tests.support.sounds import LOUD, RATE, pauses, quiet, sentence, voice

Sentences = list[tuple[bytes, bool]]


def joined(sentences: Sentences, chunk: int = 1_920, sample_rate: int = RATE) -> bytes:
    """What is heard of sentences that come in chunks of so many samples."""
    joiner = PauseJoiner(sample_rate)
    parts = []
    for number, (pcm, ends_paragraph) in enumerate(sentences, start=1):
        parts += [joiner.push(pcm[at : at + 2 * chunk]) for at in range(0, len(pcm), 2 * chunk)]
        pause = number < len(sentences)
        parts.append(joiner.end_sentence(pause=pause, ends_paragraph=ends_paragraph))
    return b"".join(parts)


@pytest.mark.parametrize("chunk", [240, 1_000, 1_920, 100_000])
def test_trimming_pauses_and_fades_are_exact(chunk: int) -> None:
    """The same as joining whole sentences would give, sample for sample."""
    sentences = [
        (sentence(0, 0.7, 0), False),
        (sentence(1, 0.5, 0.3), True),
        (sentence(0.02, 0.333, 2), False),
        (np.concatenate([voice(0.3), quiet(0.8), voice(0.4), quiet(0.05)]).tobytes(), False),
    ]
    stream = np.frombuffer(joined(sentences, chunk), "<i2")
    # Silence before the first sound would only keep a listener waiting.
    whole = joined_as_a_whole(sentences)[round(MARGIN_SECONDS * RATE) :]
    assert len(whole) <= len(stream) <= len(whole) + SENTENCE_PAUSE_SECONDS * RATE
    differences = np.abs(stream[: len(whole)].astype(int) - whole)
    assert differences.max() <= 3, "of near-silence, which a stream fades elsewhere"


def joined_as_a_whole(sentences: Sentences) -> np.ndarray:
    """Sentences with a margin of 60 ms, a fade of 8 ms and pauses, from all samples at once."""
    margin, fade = round(0.06 * RATE), round(0.008 * RATE)
    parts = []
    for pcm, ends_paragraph in sentences:
        samples = np.frombuffer(pcm, "<i2")
        frames = np.pad(samples, (0, -len(samples) % 240)).reshape(-1, 240).astype(float)
        sounding = np.flatnonzero(np.square(frames).mean(axis=1) > 12**2)
        start, end = sounding[0] * 240, min((sounding[-1] + 1) * 240, len(samples))
        first, last = max(0, start - margin), min(len(samples), end + margin)
        cut = samples[first:last].astype(float)
        cut[:fade] *= np.linspace(0, 1, fade)
        cut[-fade:] *= np.linspace(1, 0, fade)
        padded = np.pad(cut, (first - (start - margin), end + margin - last)).astype("<i2")
        pause = round((0.65 if ends_paragraph else 0.3) * RATE) - 2 * margin
        parts += [padded, np.zeros(pause, "<i2")]
    return np.concatenate(parts[:-1])


def test_what_is_certain_is_heard_at_once() -> None:
    joiner = PauseJoiner(RATE)
    assert joiner.push(quiet(0.4).tobytes()) == b""
    first = joiner.push(voice(0.08).tobytes())
    assert len(first) / 2 / RATE == pytest.approx(0.06 + 0.08 - 0.008, abs=0.011)
    assert len(joiner.push(voice(0.08).tobytes())) / 2 / RATE == pytest.approx(0.08, abs=0.011)


def test_a_pause_within_a_sentence_is_not_waited_for() -> None:
    """Near-silence goes out for as long as the pause that would follow anyway."""
    joiner = PauseJoiner(RATE)
    joiner.push(voice(0.5).tobytes())
    passed = joiner.push(quiet(1.0).tobytes())
    assert len(passed) / 2 / RATE == pytest.approx(SENTENCE_PAUSE_SECONDS - 0.06, abs=0.01)
    held_back = joiner.push(voice(0.5).tobytes())
    assert (len(passed) + len(held_back)) / 2 / RATE == pytest.approx(1.5, abs=0.01)


def test_a_sentence_that_restarts_leaves_nothing_behind() -> None:
    joiner = PauseJoiner(RATE)
    joiner.push(np.concatenate([voice(0.5), quiet(0.5), voice(0.111)]).tobytes())
    joiner.restart_sentence()
    again = joiner.push(sentence(0.3, 1.0, 0.3)) + joiner.end_sentence(pause=False)
    loud = np.flatnonzero(np.abs(np.frombuffer(again, "<i2")) > LOUD)
    assert (loud[-1] - loud[0]) / RATE == pytest.approx(1.0, abs=0.02)


def test_a_sentence_without_sound_leaves_no_gap() -> None:
    sentences = [(sentence(0, 1, 0), False), (quiet(1).tobytes(), False), (b"", False)]
    assert pauses(joined([*sentences, (sentence(0, 1, 0), False)])) == pytest.approx(
        [SENTENCE_PAUSE_SECONDS], abs=0.03
    )


def test_nothing_clicks() -> None:
    speech = np.frombuffer(joined([(sentence(0, 0.5, 0), False)] * 3), "<i2")
    steepest_in_the_voice = np.abs(np.diff(voice(0.5).astype(int))).max()
    assert np.abs(np.diff(speech.astype(int), prepend=0, append=0)).max() <= steepest_in_the_voice


@given(
    st.lists(
        st.tuples(st.binary(max_size=800).map(lambda pcm: pcm[: len(pcm) // 2 * 2]), st.booleans()),
        max_size=6,
    ),
    st.integers(min_value=1, max_value=500),
    st.sampled_from([8_000, 24_000, 48_000]),
)
def test_any_samples_can_be_joined(sentences: Sentences, chunk: int, sample_rate: int) -> None:
    pcm = joined(sentences, chunk, sample_rate)
    assert len(pcm) % 2 == 0
    most = sum(len(pcm) // 2 + sample_rate for pcm, _ in sentences)
    assert len(pcm) // 2 <= most
