from __future__ import annotations

import numpy as np
import pytest

from bot.speech.preview.pitch import FRAME_SECONDS, track_pitch

RATE = 16_000


def harmonics(pitch: float, numbers: range, seconds: float = 1.0) -> np.ndarray:
    times = np.arange(int(seconds * RATE)) / RATE
    waves = [np.sin(2 * np.pi * pitch * number * times + number) for number in numbers]
    return np.asarray(np.sum(waves, axis=0))


@pytest.mark.parametrize("pitch", [70.0, 110.0, 220.0, 390.0])
@pytest.mark.parametrize("level", [1e-2, 1.0])
def test_a_steady_tone_has_its_pitch(pitch: float, level: float) -> None:
    found, _ = track_pitch(level * harmonics(pitch, range(1, 12)), RATE)

    assert np.median(found) == pytest.approx(pitch, rel=0.03)


@pytest.mark.parametrize("pitch", [85.0, 120.0])
def test_a_voice_without_its_fundamental_keeps_its_pitch(pitch: float) -> None:
    found, _ = track_pitch(harmonics(pitch, range(2, 12)), RATE)

    assert np.median(found) == pytest.approx(pitch, rel=0.03)


def test_a_glide_is_followed() -> None:
    times = np.arange(2 * RATE) / RATE
    pitch = 100 * 2**times
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    found, frame_times = track_pitch(np.sum([np.sin(n * phase) for n in range(1, 8)], axis=0), RATE)

    inner = slice(20, -20)
    expected = 100 * 2 ** frame_times[inner]
    assert found[inner] == pytest.approx(expected, rel=0.06)


def test_noise_and_silence_have_no_pitch() -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, RATE)

    assert np.mean(track_pitch(noise, RATE)[0] > 0) < 0.15
    assert not track_pitch(np.zeros(RATE), RATE)[0].any()


@pytest.mark.parametrize("samples", [1, 79, 80, 81, 1_601])
def test_frames_cover_clips_of_any_length(samples: int) -> None:
    pitch, times = track_pitch(np.ones(samples), RATE)

    assert len(pitch) == len(times)
    assert times[-1] <= samples / RATE < times[-1] + 2 * FRAME_SECONDS
