from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.audio.joining import MARGIN_SECONDS, SENTENCE_PAUSE_SECONDS, JoinedSpeech, SpeechJoiner
from bot.audio.pauses import StreamJoiner
from tests.audio.test_joining import LOUD, RATE, heard, pauses, quiet, sentence, voice

Sentences = list[tuple[bytes, bool]]


def streamed(sentences: Sentences, chunk: int = 1_920, sample_rate: int = RATE) -> JoinedSpeech:
    """What is heard of sentences that come in chunks of so many samples."""
    joiner = StreamJoiner(sample_rate)
    parts = []
    for number, (pcm, ends_paragraph) in enumerate(sentences, start=1):
        parts += [joiner.push(pcm[at : at + 2 * chunk]) for at in range(0, len(pcm), 2 * chunk)]
        pause = number < len(sentences)
        parts.append(joiner.end_sentence(pause=pause, ends_paragraph=ends_paragraph))
    return JoinedSpeech(b"".join(parts), sample_rate, ())


def joined(sentences: Sentences) -> JoinedSpeech:
    """The same, joined once all of it was there."""
    joiner = SpeechJoiner(RATE)
    for pcm, ends_paragraph in sentences:
        joiner.add(pcm, ends_paragraph=ends_paragraph)
    return joiner.joined()


@pytest.mark.parametrize("chunk", [240, 1_000, 1_920, 100_000])
def test_sounds_like_sentences_that_are_joined_as_a_whole(chunk: int) -> None:
    sentences = [
        (sentence(0, 0.7, 0), False),
        (sentence(1, 0.5, 0.3), True),
        (sentence(0.02, 0.333, 2), False),
        (np.concatenate([voice(0.3), quiet(0.8), voice(0.4), quiet(0.05)]).tobytes(), False),
    ]
    stream = heard(streamed(sentences, chunk))
    whole = heard(joined(sentences))[round(MARGIN_SECONDS * RATE) :]  # nobody waited for that one
    assert len(whole) <= len(stream) <= len(whole) + SENTENCE_PAUSE_SECONDS * RATE
    differences = np.abs(stream[: len(whole)].astype(int) - whole)
    assert differences.max() <= 3, "of near-silence, which a stream fades elsewhere"


def test_what_is_certain_is_heard_at_once() -> None:
    joiner = StreamJoiner(RATE)
    assert joiner.push(quiet(0.4).tobytes()) == b""
    first = joiner.push(voice(0.08).tobytes())
    assert len(first) / 2 / RATE == pytest.approx(0.06 + 0.08 - 0.008, abs=0.011)
    assert len(joiner.push(voice(0.08).tobytes())) / 2 / RATE == pytest.approx(0.08, abs=0.011)


def test_a_pause_within_a_sentence_is_not_waited_for() -> None:
    """Near-silence goes out for as long as the pause that would follow anyway."""
    joiner = StreamJoiner(RATE)
    joiner.push(voice(0.5).tobytes())
    passed = joiner.push(quiet(1.0).tobytes())
    assert len(passed) / 2 / RATE == pytest.approx(SENTENCE_PAUSE_SECONDS - 0.06, abs=0.01)
    kept_back = joiner.push(voice(0.5).tobytes())
    assert (len(passed) + len(kept_back)) / 2 / RATE == pytest.approx(1.5, abs=0.01)


def test_a_sentence_that_restarts_leaves_nothing_behind() -> None:
    joiner = StreamJoiner(RATE)
    joiner.push(np.concatenate([voice(0.5), quiet(0.5), voice(0.111)]).tobytes())
    joiner.restart_sentence()
    again = joiner.push(sentence(0.3, 1.0, 0.3)) + joiner.end_sentence(pause=False)
    loud = np.flatnonzero(np.abs(np.frombuffer(again, "<i2")) > LOUD)
    assert (loud[-1] - loud[0]) / RATE == pytest.approx(1.0, abs=0.02)


def test_a_sentence_without_sound_leaves_no_gap() -> None:
    sentences = [(sentence(0, 1, 0), False), (quiet(1).tobytes(), False), (b"", False)]
    assert pauses(streamed([*sentences, (sentence(0, 1, 0), False)])) == pytest.approx(
        [SENTENCE_PAUSE_SECONDS], abs=0.03
    )


def test_nothing_clicks() -> None:
    speech = heard(streamed([(sentence(0, 0.5, 0), False)] * 3))
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
def test_any_samples_can_be_streamed(sentences: Sentences, chunk: int, sample_rate: int) -> None:
    speech = streamed(sentences, chunk, sample_rate)
    assert len(speech.pcm) % 2 == 0
    most = sum(len(pcm) // 2 + sample_rate for pcm, _ in sentences)
    assert len(speech.pcm) // 2 <= most
