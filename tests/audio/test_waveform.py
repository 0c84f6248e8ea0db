from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.audio.waveform import waveform

RATE = 24_000


def pcm(loudness: list[float], seconds_each: float = 0.5) -> bytes:
    """Noise that is as loud as told, one stretch after the other."""
    noise = np.random.default_rng(7).uniform(-1, 1, round(seconds_each * RATE))
    samples = np.concatenate([level * noise for level in loudness])
    return (samples * 32_767).astype("<i2").tobytes()


def test_is_high_where_the_recording_is_loud() -> None:
    drawn = waveform(pcm([0.0, 0.5, 0.25]), RATE)
    assert len(drawn) == 15
    assert set(drawn[:5]) == {0}
    assert list(drawn[5:10]) == pytest.approx([255] * 5, abs=10)
    assert list(drawn[10:]) == pytest.approx([128] * 5, abs=10)


def test_a_quiet_recording_is_drawn_as_high_as_a_loud_one() -> None:
    loud, quiet = waveform(pcm([1.0, 0.5]), RATE), waveform(pcm([0.1, 0.05]), RATE)
    assert list(quiet) == pytest.approx(list(loud), abs=3)


@given(
    samples=st.integers(1, 40 * RATE),
    level=st.integers(-32_768, 32_767),
    rate=st.sampled_from([8_000, 24_000, 48_000]),
)
def test_never_has_more_points_than_discord_takes(samples: int, level: int, rate: int) -> None:
    drawn = waveform(np.full(samples, level, "<i2").tobytes(), rate)
    assert 1 <= len(drawn) <= 256
    assert min(drawn) == max(drawn) == (255 if level else 0)


def test_nothing_cannot_be_drawn() -> None:
    with pytest.raises(ValueError, match="nothing"):
        waveform(b"", RATE)
