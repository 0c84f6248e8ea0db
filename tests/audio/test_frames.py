"""Recordings that were cut without regard to their frames."""

from __future__ import annotations

import numpy as np
import pytest

from bot.audio.container import identify
from bot.audio.frames import SEARCH_BYTES, find_frames
from bot.audio.reference import ReferenceReader
from tests.support.recordings import as_file, speech


@pytest.mark.parametrize("suffix", ["mp3", "aac"])
@pytest.mark.parametrize("front", ["a frame's rest", "zeros"])
async def test_are_read_from_their_first_whole_frame(suffix: str, front: str) -> None:
    file = as_file(speech(6.0), 24_000, suffix)
    odd = file[150:] if front == "a frame's rest" else bytes(3_000) + file
    assert identify(odd).demuxer == suffix
    audio = await ReferenceReader().read(odd, transcript_given=False)
    assert 5.0 < audio.seconds < 6.5


def test_are_not_seen_in_noise() -> None:
    noise = np.random.default_rng(1)
    found = [find_frames(noise.bytes(2 * SEARCH_BYTES)) for _ in range(100)]
    assert found == [None] * 100


@pytest.mark.parametrize("hostile", [b"\xff" * 60_000, b"\xff\xfb" * 30_000, b"\xff\xf1" * 30_000])
def test_are_not_seen_in_endless_beginnings(hostile: bytes) -> None:
    assert find_frames(hostile) is None


async def test_opposite_channels_do_not_cancel_each_other_out() -> None:
    left = speech(6.0)
    file = as_file(np.stack([left, -left], axis=1), 24_000, "wav")
    audio = await ReferenceReader().read(file, transcript_given=False)
    assert 5.0 < audio.seconds < 6.5
