"""Samples come out whole, however the network cuts the answer."""

from __future__ import annotations

import io
from itertools import pairwise

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from backend.contract import GenerationFailedError
from bot.speech.errors import SpeechInterruptedError
from bot.speech.http.pcm import PcmReader

SAMPLES = np.arange(1, 400, dtype="<i2")
PLACEHOLDERS = (b"\x00" * 4, b"\xff" * 4, (0x7FFFFFFF).to_bytes(4, "little"))


def wav(rate: int = 24_000, subtype: str = "PCM_16", channels: int = 1) -> bytes:
    file = io.BytesIO()
    samples = np.stack([SAMPLES] * channels, axis=1)
    soundfile.write(file, samples, rate, format="WAV", subtype=subtype)
    return file.getvalue()


def read(body: bytes, cuts: list[int], media_type: str = "audio/pcm") -> tuple[bytes, int]:
    reader = PcmReader(media_type, {})
    edges = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    pieces = [body[a:b] for a, b in pairwise(edges)]
    pcm = [reader.push(piece) for piece in pieces]
    reader.finish()
    assert all(len(piece) % 2 == 0 for piece in pcm)
    return b"".join(pcm), reader.sample_rate


@given(
    cuts=st.lists(st.integers(0, 2_000), max_size=12),
    form=st.sampled_from(["bare", "wav", "with more at its end", *PLACEHOLDERS]),
)
def test_any_cuts_give_the_same_samples(cuts: list[int], form: str | bytes) -> None:
    body, rate = SAMPLES.tobytes(), 24_000
    if form != "bare":
        body, rate = wav(48_000), 48_000
    if form == "with more at its end":
        body += b"LIST\x04\x00\x00\x00meta"
    if isinstance(form, bytes):  # a file that is still being made
        at = body.index(b"data") + 4
        body = body[:at] + form + body[at + 4 :]
    assert read(body, cuts) == (SAMPLES.tobytes(), rate)


@given(left_out=st.integers(1, len(wav()) - 1))
def test_a_file_that_is_cut_off_is_never_whole(left_out: int) -> None:
    with pytest.raises(SpeechInterruptedError):
        read(wav()[:-left_out], [])


@pytest.mark.parametrize(
    "body",
    [wav(subtype="PCM_24"), wav(channels=2), wav(rate=1_000), b"RIFF" + bytes(5_000)],
    ids=["24 bits", "stereo", "too slow", "no file"],
)
def test_other_sound_is_refused(body: bytes) -> None:
    with pytest.raises(GenerationFailedError):
        read(body, [])


@pytest.mark.parametrize("rate", ["0", "-1", "24000.5", "1e9", "9" * 5_000, "²"])
def test_a_rate_that_nobody_can_use_is_refused(rate: str) -> None:
    with pytest.raises(GenerationFailedError):
        PcmReader(f"audio/pcm; rate={rate}", {})
