"""A clip comes out of the database as it went in."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bot.audio.clip import from_flac, to_flac, to_pcm16
from bot.errors import Reason
from tests.support.recordings import as_file, speech
from tests.support.refusals import refused

HALF_A_STEP = 0.5 / 32_768


def samples_of(pcm: bytes) -> np.ndarray:
    return np.frombuffer(pcm, "<i2").astype(np.float32) / 32_768


def test_flac_keeps_every_16_bit_sample_and_is_smaller() -> None:
    voice = speech(8.0)
    pcm = to_pcm16(voice)
    flac = to_flac(pcm)
    assert from_flac(flac) == pcm
    np.testing.assert_allclose(samples_of(from_flac(flac)), voice, atol=HALF_A_STEP * 1.01)
    assert len(flac) < len(pcm) * 0.9
    assert to_flac(from_flac(flac)) == flac


@given(arrays.arrays(np.float32, st.integers(0, 50), elements=st.floats(-2, 2, width=32)))
def test_pcm_rounds_to_the_nearest_and_clips(samples: np.ndarray) -> None:
    back = samples_of(to_pcm16(samples))
    np.testing.assert_allclose(back, np.clip(samples, -1, 1), atol=2.01 * HALF_A_STEP)
    inside = np.abs(samples) < 0.999
    np.testing.assert_allclose(back[inside], samples[inside], atol=1.01 * HALF_A_STEP)


@given(st.lists(st.integers(-32_768, 32_767)))
def test_every_pcm_value_survives(values: list[int]) -> None:
    pcm = np.array(values, "<i2").tobytes()
    assert to_pcm16(samples_of(pcm)) == pcm


def test_clips_have_a_longest_length() -> None:
    with pytest.raises(ValueError, match="at most"):
        to_flac(bytes(2 * 31 * 24_000))


@pytest.mark.parametrize("kind", ["nothing", "text", "half", "wav", "stereo", "44.1 kHz", "long"])
def test_what_to_flac_did_not_write_is_refused(kind: str) -> None:
    voice = speech(4.0)
    stereo = io.BytesIO()
    soundfile.write(stereo, np.stack([voice, voice], axis=1), 24_000, format="FLAC")
    data = {
        "nothing": b"",
        "text": b"fLaC but not really",
        "half": to_flac(to_pcm16(voice))[:40],
        "wav": as_file(voice, 24_000, "wav"),
        "stereo": stereo.getvalue(),
        "44.1 kHz": as_file(voice, 24_000, "flac", "-ar", "44100"),
        "long": as_file(np.zeros(40 * 24_000, np.float32), 24_000, "flac"),
    }[kind]
    with refused(Reason.CLIP_DAMAGED):
        from_flac(data)
