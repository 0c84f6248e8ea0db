"""The analysis of what was heard: it must notice what the other tests rely on."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.marked_speech import account, marked, passages, repeated_seconds, unheard_seconds
from tests.support.voice_server.hearing import FRAME_SECONDS, SAMPLE_RATE, Frame, Heard
from tests.support.voice_server.spectrum import likeness, pitch, tones

SECONDS = 2.0
FRAMES = round(SECONDS / FRAME_SECONDS)


@cache
def spoken(item: int, *, begins: float = 0.0, connection: int = 0) -> tuple[Frame, ...]:
    """The frames of an item, as heard when nothing goes wrong."""
    pieces = marked(item, SECONDS, SAMPLE_RATE).reshape(FRAMES, -1)
    return tuple(
        Frame(
            arrived=begins + number * FRAME_SECONDS,
            connection=connection,
            channel_id=1,
            sequence=number,
            samples=samples,
            is_end=False,
            is_encrypted=True,
        )
        for number, samples in enumerate(pieces)
    )


def test_a_complete_item_is_found() -> None:
    heard = Heard(spoken(5))
    (row,) = passages(heard)
    assert row.item == 5
    assert len(row.marks) == FRAMES
    assert row.longest_gap == pytest.approx(0, abs=1e-9)
    assert unheard_seconds(heard, 5, SECONDS) == 0
    assert repeated_seconds(heard, 5) == 0
    assert heard.missing() == 0


@settings(max_examples=30, deadline=None)
@given(start=st.integers(0, FRAMES - 4), count=st.integers(4, FRAMES))
def test_missing_speech_is_noticed(start: int, count: int) -> None:
    frames = spoken(7)
    cut = len(frames[start : start + count]) * FRAME_SECONDS
    heard = Heard(frames[:start] + frames[start + count :])
    assert unheard_seconds(heard, 7, SECONDS) == pytest.approx(cut, abs=3 * FRAME_SECONDS)


@settings(max_examples=30, deadline=None)
@given(stopped=st.integers(10, FRAMES), back=st.integers(2, 10))
def test_repeated_speech_is_noticed(stopped: int, back: int) -> None:
    frames = spoken(7)
    again = spoken(7, begins=9.0, connection=1)[stopped - back :]
    heard = Heard(frames[:stopped] + again)
    assert unheard_seconds(heard, 7, SECONDS) == 0
    assert repeated_seconds(heard, 7) == pytest.approx(back * FRAME_SECONDS, abs=FRAME_SECONDS)


def test_what_was_lost_is_not_repeated_speech() -> None:
    """Three parts: heard, lost, heard. Then the last two are said again."""
    first, lost, last = spoken(7)[:40], spoken(7)[40:70], spoken(7)[70:]
    again = spoken(7, begins=9.0, connection=1)[40:]
    told = account(Heard(first + last + again), 7, SECONDS)
    assert told.missing == 0
    assert told.repeated == pytest.approx(len(last) * FRAME_SECONDS, abs=FRAME_SECONDS)
    assert told.connections == {0, 1}
    assert account(Heard(first + last), 7, SECONDS).missing == pytest.approx(
        len(lost) * FRAME_SECONDS, abs=2 * FRAME_SECONDS
    )


def test_silence_before_the_first_sound_is_measured() -> None:
    quiet = np.zeros(960, np.float32)
    frames = [
        Frame(n * FRAME_SECONDS, 0, 1, n, quiet, is_end=False, is_encrypted=True) for n in range(7)
    ]
    told = account(Heard((*frames, *spoken(7, begins=0.14))), 7, SECONDS)
    assert told.silence_before == pytest.approx(0.14)
    assert told.began == pytest.approx(0.14)


def test_items_are_told_apart_and_in_order() -> None:
    heard = Heard(spoken(3) + spoken(59, begins=3.0) + spoken(0, begins=6.0))
    assert [row.item for row in passages(heard)] == [3, 59, 0]


def test_a_late_frame_is_a_gap() -> None:
    frames = spoken(1)[:10] + spoken(1, begins=0.1)[10:]
    heard = Heard(frames)
    assert heard.longest_gap() == pytest.approx(0.1)
    assert passages(heard)[0].longest_gap == pytest.approx(0.1)
    assert heard.pacing().largest == pytest.approx(100)
    assert heard.pacing().median == pytest.approx(0, abs=1e-6)


def test_silence_in_the_middle_is_a_gap() -> None:
    frames = spoken(1)
    quiet = Frame(0.4, 0, 1, 20, np.zeros(960, np.float32), is_end=False, is_encrypted=True)
    heard = Heard((*frames[:20], quiet, *frames[26:]))
    assert heard.longest_gap() == pytest.approx(6 * FRAME_SECONDS)


def test_lost_packets_are_counted() -> None:
    assert Heard(spoken(1)[::2]).missing() == FRAMES // 2 - 1


def test_other_sounds_are_no_speech() -> None:
    noise = np.random.default_rng(1).normal(0, 0.2, (50, 960)).astype(np.float32)
    frames = [
        Frame(n * FRAME_SECONDS, 0, 1, n, samples, is_end=False, is_encrypted=True)
        for n, samples in enumerate(noise)
    ]
    assert len(passages(Heard(tuple(frames)))) < 5


def test_likeness_ignores_the_offset() -> None:
    one = marked(1, SECONDS, SAMPLE_RATE)
    later = np.concatenate([np.zeros(4_800, np.float32), one])
    assert likeness(one, later).score == pytest.approx(1, abs=1e-3)
    assert likeness(one, later).offset_seconds == pytest.approx(0.1, abs=1e-4)
    assert likeness(one, one[: len(one) // 2]).score < 0.8
    assert likeness(one, marked(2, SECONDS, SAMPLE_RATE)).score < 0.8


@pytest.mark.parametrize("hertz", [200.0, 440.0, 1_234.5, 7_900.0])
def test_a_pitch_is_measured_to_a_hertz(hertz: float) -> None:
    tone = np.sin(2 * np.pi * hertz * np.arange(960) / SAMPLE_RATE).astype(np.float32)
    assert pitch(tone) == pytest.approx(hertz, abs=1.5)


def test_tones_are_listed_in_order() -> None:
    frames = []
    for number, hertz in enumerate([300.0, 300.0, 900.0]):
        tone = np.sin(2 * np.pi * hertz * np.arange(960) / SAMPLE_RATE).astype(np.float32)
        arrived = number * FRAME_SECONDS
        frames.append(Frame(arrived, 0, 1, number, tone, is_end=False, is_encrypted=True))
    found = tones(Heard(tuple(frames)))
    assert [round(tone.pitch, -1) for tone in found] == [300, 900]
    assert found[0].seconds == pytest.approx(2 * FRAME_SECONDS)
