"""Upsampling: 24 kHz mono becomes 48 kHz stereo, and no edge between chunks can be heard."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.playback.producer import Upsampler

RANDOM = np.random.default_rng(4)
NOISE = (RANDOM.standard_normal(12_000) * 6_000).clip(-32_768, 32_767).astype("<i2").tobytes()


def resampled(pcm: bytes, cuts: list[int], sample_rate: int = 24_000) -> bytes:
    upsampler = Upsampler(sample_rate)
    edges = [0, *sorted(2 * cut for cut in cuts), len(pcm)]
    parts = [upsampler.push(pcm[start:end]) for start, end in pairwise(edges)]
    return b"".join([*parts, upsampler.push(b"", last=True)])


@given(st.lists(st.integers(min_value=0, max_value=len(NOISE) // 2), max_size=30))
def test_a_stream_is_the_same_as_one_pass(cuts: list[int]) -> None:
    assert resampled(NOISE, cuts) == resampled(NOISE, [])


@pytest.mark.parametrize("sample_rate", [16_000, 22_050, 24_000, 44_100, 48_000])
def test_length_pitch_and_loudness_stay(sample_rate: int) -> None:
    times = np.arange(sample_rate) / sample_rate
    tone = (np.sin(2 * np.pi * 440 * times) * 12_000).astype("<i2")
    stereo = np.frombuffer(resampled(tone.tobytes(), [100, 5_000], sample_rate), "<i2")
    left, right = stereo[::2], stereo[1::2]
    assert np.array_equal(left, right)
    assert len(left) == pytest.approx(48_000, abs=2)
    expected = np.sin(2 * np.pi * 440 * np.arange(len(left)) / 48_000) * 12_000
    assert np.abs(left - expected)[500:-500].max() < 20


def test_the_loudest_sound_is_clipped_and_does_not_wrap() -> None:
    half = 12
    square = np.tile(np.repeat([32_767, -32_768], half), 200).astype("<i2").tobytes()
    left = np.frombuffer(resampled(square, []), "<i2")[::2].astype(int)
    middles = left.reshape(-1, 2 * half)[20:-20, half - 6 : half + 6]
    assert (np.abs(middles) > 25_000).all()  # a wave that is cut off ripples at its edges
    assert (np.sign(middles) == np.sign(middles[:, :1])).all()
