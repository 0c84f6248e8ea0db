from __future__ import annotations

import numpy as np
import pytest
import pyworld
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.speech.preview.adaptation import (
    FRAME_SECONDS,
    PEAK_LIMIT,
    TooLittleVoiceError,
    VoiceMeasure,
    adapt,
    measure_voice,
    target_for,
    track_pitch,
)
from bot.speech.preview.prompt import (
    MAX_PITCH,
    MAX_TRACT_RATIO,
    MIN_PITCH,
    MIN_TRACT_RATIO,
    SPECTRUM_BANDS,
    VoiceTarget,
)
from tests.speech.preview.voices import SAMPLE_RATE, SHORTER, high_voice, low_voice, median_pitch

PITCH_RATE = 16_000


@pytest.fixture(scope="module")
def stock() -> VoiceMeasure:
    return measure_voice(low_voice(), SAMPLE_RATE)


def active_level(samples: np.ndarray) -> float:
    """Level in dB full scale of the frames within 20 dB of the loudest."""
    frames = samples[: len(samples) // 480 * 480].reshape(-1, 480)
    power = (frames**2).mean(axis=1)
    return float(10 * np.log10(power[power > power.max() / 100].mean()))


@pytest.mark.slow
def test_a_voice_moved_toward_another_gets_its_pitch(stock: VoiceMeasure) -> None:
    target = target_for(measure_voice(high_voice(), SAMPLE_RATE), stock)
    speech = adapt(low_voice(), stock, target)

    pitch, _ = pyworld.harvest(speech, SAMPLE_RATE, f0_floor=71.0, f0_ceil=500.0)
    assert np.median(pitch[pitch > 0]) == pytest.approx(
        median_pitch(high_voice(), SAMPLE_RATE), rel=0.1
    )
    assert np.abs(np.diff(speech)).max() < 0.5  # a click jumps further


def test_a_shorter_vocal_tract_is_measured(stock: VoiceMeasure) -> None:
    same = target_for(stock, stock)
    shorter = target_for(measure_voice(high_voice(), SAMPLE_RATE), stock)

    assert same.tract_ratio == pytest.approx(1.0, abs=0.02)
    assert shorter.tract_ratio == pytest.approx(SHORTER, abs=0.08)


def test_a_voice_moved_to_itself_stays(stock: VoiceMeasure) -> None:
    speech = adapt(low_voice(), stock, target_for(stock, stock))
    again = measure_voice(speech, SAMPLE_RATE)

    assert len(speech) == len(low_voice())
    assert again.pitch == pytest.approx(stock.pitch, rel=0.05)
    assert again.pitch_spread == pytest.approx(stock.pitch_spread, abs=0.05)
    assert target_for(again, stock).tract_ratio == pytest.approx(1.0, abs=0.04)


@pytest.mark.slow
def test_brightness_moves_toward_the_reference(stock: VoiceMeasure) -> None:
    spectrum = np.array(target_for(stock, stock).spectrum)
    brighter = spectrum + np.linspace(-1.5, 1.5, SPECTRUM_BANDS)
    target = target_for(stock, stock).model_copy(update={"spectrum": tuple(brighter.tolist())})

    before = power_above_2_khz(adapt(low_voice(), stock, target_for(stock, stock)))
    after = power_above_2_khz(adapt(low_voice(), stock, target))
    assert 1.3 * before < after < 10 * before


def power_above_2_khz(samples: np.ndarray) -> float:
    power = np.abs(np.fft.rfft(samples)) ** 2
    return float(power[2_000 * len(samples) // SAMPLE_RATE :].sum() / power.sum())


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(
    pitch=st.sampled_from([MIN_PITCH, 100.0, 250.0, MAX_PITCH]),
    spread=st.sampled_from([0.0, 0.3, 2.0]),
    ratio=st.sampled_from([MIN_TRACT_RATIO, 1.0, MAX_TRACT_RATIO]),
    slope=st.floats(-20, 20),
    gain=st.sampled_from([1e-3, 0.1, 1.0]),
)
def test_speech_is_clean_for_every_valid_target(
    stock: VoiceMeasure, pitch: float, spread: float, ratio: float, slope: float, gain: float
) -> None:
    spectrum = tuple(np.linspace(-slope, slope, SPECTRUM_BANDS).tolist())
    target = VoiceTarget(pitch=pitch, pitch_spread=spread, tract_ratio=ratio, spectrum=spectrum)
    speech = adapt(gain * low_voice()[: 2 * SAMPLE_RATE], stock, target)

    assert np.isfinite(speech).all()
    assert np.abs(speech).max() <= PEAK_LIMIT + 1e-9
    assert -26 < active_level(speech) < -19
    assert abs(speech[0]) < 1e-3
    assert abs(speech[-1]) < 1e-3


@pytest.mark.parametrize("seconds", [0.02, 0.5, 6.0])
@pytest.mark.parametrize("kind", ["silence", "noise", "hum"])
def test_a_clip_without_a_voice_cannot_be_measured(kind: str, seconds: float) -> None:
    count = int(seconds * SAMPLE_RATE)
    samples = {
        "silence": np.zeros(count),
        "noise": np.random.default_rng(2).normal(0, 0.1, count),
        "hum": 0.1 * np.sin(2 * np.pi * 50 * np.arange(count) / SAMPLE_RATE),
    }[kind]

    with pytest.raises(TooLittleVoiceError):
        measure_voice(samples, SAMPLE_RATE)


@pytest.mark.parametrize("sample_rate", [8_000, 16_000, 48_000])
def test_a_reference_of_any_sample_rate_is_usable(stock: VoiceMeasure, sample_rate: int) -> None:
    count = int(len(high_voice()) * sample_rate / SAMPLE_RATE)
    times = np.arange(count) / sample_rate
    samples = np.interp(times, np.arange(len(high_voice())) / SAMPLE_RATE, high_voice())

    target = target_for(measure_voice(samples, sample_rate), stock)

    assert target.pitch == pytest.approx(median_pitch(high_voice(), SAMPLE_RATE), rel=0.05)
    assert np.isfinite(adapt(low_voice()[:SAMPLE_RATE], stock, target)).all()


def harmonics(pitch: float, numbers: range, seconds: float = 1.0) -> np.ndarray:
    times = np.arange(int(seconds * PITCH_RATE)) / PITCH_RATE
    waves = [np.sin(2 * np.pi * pitch * number * times + number) for number in numbers]
    return np.asarray(np.sum(waves, axis=0))


@pytest.mark.parametrize("pitch", [70.0, 110.0, 220.0, 390.0])
@pytest.mark.parametrize("level", [1e-2, 1.0])
def test_a_steady_tone_has_its_pitch(pitch: float, level: float) -> None:
    found, _ = track_pitch(level * harmonics(pitch, range(1, 12)), PITCH_RATE)

    assert np.median(found) == pytest.approx(pitch, rel=0.03)


@pytest.mark.parametrize("pitch", [85.0, 120.0])
def test_a_voice_without_its_fundamental_keeps_its_pitch(pitch: float) -> None:
    found, _ = track_pitch(harmonics(pitch, range(2, 12)), PITCH_RATE)

    assert np.median(found) == pytest.approx(pitch, rel=0.03)


def test_a_glide_is_followed() -> None:
    times = np.arange(2 * PITCH_RATE) / PITCH_RATE
    pitch = 100 * 2**times
    phase = 2 * np.pi * np.cumsum(pitch) / PITCH_RATE
    found, frame_times = track_pitch(
        np.sum([np.sin(n * phase) for n in range(1, 8)], axis=0), PITCH_RATE
    )

    inner = slice(20, -20)
    expected = 100 * 2 ** frame_times[inner]
    assert found[inner] == pytest.approx(expected, rel=0.06)


def test_noise_and_silence_have_no_pitch() -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, PITCH_RATE)

    assert np.mean(track_pitch(noise, PITCH_RATE)[0] > 0) < 0.15
    assert not track_pitch(np.zeros(PITCH_RATE), PITCH_RATE)[0].any()


@pytest.mark.parametrize("samples", [1, 79, 80, 81, 1_601])
def test_frames_cover_clips_of_any_length(samples: int) -> None:
    pitch, times = track_pitch(np.ones(samples), PITCH_RATE)

    assert len(pitch) == len(times)
    assert times[-1] <= samples / PITCH_RATE < times[-1] + 2 * FRAME_SECONDS
