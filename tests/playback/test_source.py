"""What discord.py's player reads: every sample once, in order, and silence where none is ready."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.playback import source as sources
from bot.playback.source import BYTES_PER_SECOND, FRAME_BYTES, SpeechSource

if TYPE_CHECKING:
    from numpy.typing import NDArray

SILENCE = bytes(FRAME_BYTES)
LOUD = 10_000
FADE = 240
GENTLE = LOUD // FADE + 2
"""The steepest step of a fade over 5 ms."""


def sound(seconds: float, level: int = LOUD) -> bytes:
    """Stereo as loud at its edges as anywhere."""
    return np.full(round(seconds * 48_000) * 2, level, "<i2").tobytes()


def numbered(start: int, count: int) -> bytes:
    """Stereo samples that count upwards, so that a test sees which ones came out."""
    return np.repeat(np.arange(start, start + count), 2).astype("<i2").tobytes()


def left(pcm: bytes) -> NDArray[np.int16]:
    return np.frombuffer(pcm, "<i2")[::2]


def drain(source: SpeechSource) -> bytes:
    """Read to the end."""
    frames = []
    while frame := source.read():
        assert len(frame) == FRAME_BYTES
        frames.append(frame)
    return b"".join(frames)


def steepest(pcm: bytes) -> int:
    return int(np.abs(np.diff(left(pcm).astype(int), prepend=0, append=0)).max())


def test_the_first_sound_waits_for_the_prebuffer_but_not_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr("time.perf_counter", lambda: now)
    source = SpeechSource()
    assert source.read() == SILENCE
    source.feed(sound(0.08))
    assert source.read() == SILENCE
    now += 0.1
    assert source.read() == SILENCE
    now += 0.06
    assert source.read() != SILENCE, "a slow backend must not be waited for"
    assert source.underruns == 0


def test_the_first_sound_does_not_wait_once_the_prebuffer_is_full() -> None:
    source = SpeechSource()
    source.feed(sound(0.08))
    assert source.read() == SILENCE
    source.feed(sound(0.08))
    assert source.read() != SILENCE


def test_the_end_is_not_cut() -> None:
    source = SpeechSource()
    source.feed(sound(0.333))
    source.finish()
    heard = drain(source)
    assert len(heard) == -(-len(sound(0.333)) // FRAME_BYTES) * FRAME_BYTES
    assert np.count_nonzero(left(heard)) == pytest.approx(0.333 * 48_000, abs=2)
    assert source.drained
    assert source.read() == b""


def test_after_an_underrun_the_prebuffer_is_filled_again() -> None:
    source = SpeechSource()
    source.feed(sound(0.25))
    heard = [source.read() for _ in range(15)]
    assert source.underruns == 1
    assert heard[-1] == SILENCE
    source.feed(sound(0.1))
    assert source.read() == SILENCE, "it does not stutter along"
    source.feed(sound(0.4))
    assert source.read() != SILENCE


def test_each_underrun_makes_the_prebuffer_larger() -> None:
    source = SpeechSource()
    gathered = []
    for _ in range(6):
        fed = 0
        while source.read() == SILENCE:
            source.feed(sound(0.02))
            fed += 1
        gathered.append(fed)
        while source.read() != SILENCE:
            pass
    assert gathered == sorted(gathered)
    assert gathered[-1] * 0.02 <= sources.MAX_PREBUFFER_SECONDS + 0.02


def test_nothing_clicks() -> None:
    source = SpeechSource()
    source.feed(sound(0.31))
    heard = [source.read() for _ in range(20)]  # runs dry
    source.feed(sound(0.5))
    heard += [source.read() for _ in range(5)]
    source.finish()
    heard.append(drain(source))
    assert source.underruns == 1
    assert steepest(b"".join(heard)) <= GENTLE


def test_resumed_speech_is_faded_in() -> None:
    source = SpeechSource()
    source.feed(sound(0.5))
    for _ in range(5):
        source.read()
    source.pause()
    source.rewind(0)
    source.start()
    source.finish()
    assert steepest(drain(source)) <= GENTLE


@given(
    st.lists(
        st.one_of(
            st.integers(min_value=1, max_value=40_000).map(lambda count: ("feed", count)),
            st.integers(min_value=1, max_value=30).map(lambda count: ("read", count)),
        ),
        max_size=20,
    )
)
def test_every_sample_comes_out_once_and_in_order(steps: list[tuple[str, int]]) -> None:
    """However reads and feeds alternate. Faded samples differ, so samples are only counted."""
    source = SpeechSource()
    fed, frames = 0, []
    for step, count in steps:
        if step == "feed":
            source.feed(sound(count / 48_000))
            fed += count
        else:
            frames += [source.read() for _ in range(count)]
    source.finish()
    frames.append(drain(source))
    heard = left(b"".join(frames))
    full = np.count_nonzero(heard == LOUD)
    edges = 2 * FADE * (source.underruns + 1)
    assert fed - edges <= full <= fed
    assert source.position == fed * 4


def test_each_read_continues_the_last_one() -> None:
    source = SpeechSource()
    source.feed(numbered(0, 9_600))
    source.feed(numbered(9_600, 9_600))
    source.finish()
    heard = left(drain(source))
    assert np.array_equal(heard[FADE:-FADE], np.arange(FADE, 19_200 - FADE))


def test_rewound_speech_is_read_again() -> None:
    source = SpeechSource()
    source.feed(numbered(0, 20_000))
    source.finish()
    for _ in range(3):
        source.read()
    heard_until = source.position
    for _ in range(4):
        source.read()
    source.pause()
    assert source.read() == SILENCE
    source.rewind(heard_until)
    source.start()
    while (frame := source.read()) == SILENCE:
        pass
    assert left(frame)[-1] == heard_until // 4 + 959


def test_a_drained_source_can_be_rewound() -> None:
    source = SpeechSource()
    source.feed(sound(0.2))
    source.finish()
    for _ in range(10):
        source.read()
    was_drained = source.drained
    source.pause()
    source.rewind(0)
    assert (was_drained, source.drained) == (True, False)
    source.start()
    assert any(drain(source))


def test_a_start_begins_with_silence() -> None:
    source = SpeechSource()
    source.feed(sound(1.0))
    source.start()
    lead = round(sources.LEAD_SECONDS / 0.02)
    assert [source.read() for _ in range(lead)] == [SILENCE] * lead
    assert source.read() != SILENCE
    assert source.position == FRAME_BYTES


def test_only_the_last_seconds_are_kept() -> None:
    source = SpeechSource()
    for _ in range(60):
        source.feed(sound(0.5))
        for _ in range(25):
            source.read()
    source.rewind(0)
    kept = (source.length - source.position) / BYTES_PER_SECOND
    assert sources.KEPT_SECONDS <= kept <= sources.KEPT_SECONDS + 2
    assert len(source._pcm) <= (sources.KEPT_SECONDS + 2) * BYTES_PER_SECOND


def test_retracted_speech_is_not_read() -> None:
    source = SpeechSource()
    source.feed(sound(0.5))
    source.feed(sound(1.0, level=LOUD // 2))
    source.retract(len(sound(1.0)))
    source.feed(sound(0.5, level=LOUD // 4))
    source.finish()
    heard = left(drain(source))
    assert LOUD // 2 not in heard[24_000 + 2 * FADE :]
    assert np.count_nonzero(heard == LOUD // 4) > 20_000
    assert len(heard) == 48_000


def test_speech_that_was_read_cannot_be_retracted() -> None:
    source = SpeechSource()
    source.feed(sound(1.0))
    for _ in range(25):
        source.read()
    source.retract(len(sound(1.0)))
    assert source.length == pytest.approx(len(sound(0.505)), abs=4)


def test_stopping_fades_out_at_once() -> None:
    source = SpeechSource()
    source.feed(sound(5.0))
    heard = [source.read() for _ in range(10)]
    source.stop()
    rest = drain(source)
    assert len(rest) <= FRAME_BYTES
    whole = b"".join(heard) + rest
    assert steepest(whole) <= GENTLE


def test_what_is_fed_after_stopping_is_not_read() -> None:
    source = SpeechSource()
    source.feed(sound(1.0))
    source.read()
    source.stop()
    source.feed(sound(1.0))
    assert len(drain(source)) <= FRAME_BYTES


def test_a_paused_source_stops_at_once() -> None:
    source = SpeechSource()
    source.feed(sound(5.0))
    source.read()
    source.pause()
    source.stop()
    assert source.read() == b""


async def test_until_readable_waits_for_the_first_sound_or_the_end() -> None:
    source = SpeechSource()
    source.feed(b"")
    assert not source._readable.is_set()
    source.feed(sound(0.1))
    await source.until_readable()
    nothing = SpeechSource()
    nothing.finish()
    await nothing.until_readable()


def test_a_read_takes_no_time() -> None:
    source = SpeechSource()
    source.feed(sound(10.0))
    source.finish()
    took = []
    while True:
        began = time.thread_time()
        if not source.read():
            break
        took.append(time.thread_time() - began)
    assert max(took) < 0.01
