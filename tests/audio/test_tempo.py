"""Speech is made faster or slower, at its own pitch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.audio.tempo import MAX_SPEED, MIN_SPEED, Tempo
from tests.support.sounds import RATE, voice

PITCH = 200.0
"""Of `voice`, in Hz."""


def changed(pcm: bytes, speed: float, step: int = 1_920) -> bytes:
    tempo = Tempo(RATE, speed)
    pushed = [tempo.push(pcm[2 * at : 2 * (at + step)]) for at in range(0, len(pcm) // 2, step)]
    return b"".join(pushed) + tempo.finish()


def pitch_of(pcm: bytes) -> float:
    samples = np.frombuffer(pcm, "<i2").astype(float)
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * RATE / len(samples))


@pytest.mark.parametrize("speed", [MIN_SPEED, 0.5, 0.9, 1.1, 1.5, 2.0, MAX_SPEED])
def test_length_changes_and_pitch_does_not(speed: float) -> None:
    pcm = voice(4.0).tobytes()
    result = changed(pcm, speed)
    assert len(result) == pytest.approx(len(pcm) / speed, abs=2 * 0.1 * RATE / speed)
    assert pitch_of(result) == pytest.approx(PITCH, rel=0.01)
    assert np.abs(np.frombuffer(result, "<i2")).max() == pytest.approx(8_000, rel=0.1)


@given(st.lists(st.integers(1, 5_000), min_size=1, max_size=8), st.sampled_from([0.5, 0.8, 2.0]))
@settings(max_examples=15, deadline=None)
def test_how_the_samples_come_hardly_matters(sizes: list[int], speed: float) -> None:
    pcm = voice(sum(sizes) / RATE).tobytes()
    tempo, at, parts = Tempo(RATE, speed), 0, []
    for size in sizes:
        parts.append(tempo.push(pcm[at : at + 2 * size]))
        at += 2 * size
    result = b"".join(parts) + tempo.finish()
    assert len(result) == pytest.approx(len(changed(pcm, speed)), abs=2 * 0.05 * RATE)


@pytest.mark.parametrize("samples", [0, 1, 400])
def test_the_shortest_sounds_are_kept(samples: int) -> None:
    pcm = voice(1.0)[:samples].tobytes()
    assert changed(pcm, 0.5) == pcm


@pytest.mark.parametrize("speed", [0.0, 0.24, 4.1, float("nan"), -1.0])
def test_other_speeds_are_refused(speed: float) -> None:
    with pytest.raises(ValueError, match="a speed is from"):
        Tempo(RATE, speed)
