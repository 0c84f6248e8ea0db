"""Files are told apart by their bytes, whatever they are called."""

from __future__ import annotations

import struct
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot.audio.container import FRAME_SEARCH_BYTES, find_frames, identify
from bot.audio.reference import ReferenceReader
from bot.errors import Reason, Refusal
from tests.support.recordings import CODECS, as_file, speech
from tests.support.refusals import refused

DEMUXERS = {
    "m4a": "mov",
    "mp4": "mov",
    "3gp": "mov",
    "webm": "matroska",
    "mkv": "matroska",
}


def id3_tag(length: int) -> bytes:
    return b"ID3\x04\x00\x00" + bytes(length >> n & 0x7F for n in (21, 14, 7, 0)) + bytes(length)


@pytest.mark.parametrize("suffix", CODECS)
def test_each_kind_is_known_by_its_first_16_bytes(suffix: str) -> None:
    upload = as_file(speech(1.0), 24_000, suffix, "-map_metadata", "-1")
    assert identify(upload[:16]).demuxer == DEMUXERS.get(suffix, suffix)


@pytest.mark.parametrize("tag_bytes", [0, 100, 1_000_000])
@pytest.mark.parametrize("suffix", ["flac", "aac", "mp3"])
def test_tags_in_front_are_skipped(suffix: str, tag_bytes: int) -> None:
    recording = as_file(speech(1.0), 24_000, suffix, "-id3v2_version", "0", "-write_xing", "0")[:64]
    if suffix != "mp3":
        recording = as_file(speech(1.0), 24_000, suffix)[:64]
    tag = id3_tag(tag_bytes)
    container = identify(tag + tag + recording)
    assert container.demuxer == suffix
    assert container.offset == 2 * len(tag)


def test_a_file_that_ends_within_its_tag_is_taken_for_an_mp3() -> None:
    assert identify(id3_tag(1_000_000)[:16]).demuxer == "mp3"


@pytest.mark.parametrize("family", [b"RIFF", b"RIFX", b"RF64", b"BW64"])
def test_every_family_of_wav_is_read_as_wav(family: bytes) -> None:
    assert identify(family + struct.pack("<I", 99) + b"WAVEfmt ").demuxer == "wav"


@pytest.mark.parametrize(
    "upload",
    [
        b"",
        b"RIFF\x00\x00\x00\x00AVI LIST",
        b"RIFF\x00\x00\x00\x00WEBPVP8 ",
        b"#EXTM3U\n#EXTINF:10,\n/etc/passwd\n",
        b"ffconcat version 1.0\nfile a.wav\n",
        "Ein Text".encode("utf-16"),
        b"\xff\xd8\xff\xe0\x00\x10JFIF\x00",
        b"\x89PNG\r\n\x1a\n",
        b" OggS",
        bytes(64),
        b"\xff" * 64,
    ],
)
def test_what_is_no_recording_is_refused(upload: bytes) -> None:
    with refused(Reason.NOT_A_RECORDING):
        identify(upload)


@given(st.binary(max_size=64))
@example(b"ID3")
@example(b"ID3\x04\x00\x10\x00\x00\x00\x00ID3")
@example(b"\xff\xfb")
def test_no_bytes_break_it(upload: bytes) -> None:
    with suppress(Refusal):
        assert identify(upload).offset >= 0


@given(st.binary(min_size=16, max_size=64).filter(lambda data: not data.startswith(b"ID3")))
@example(b"fLaC" + bytes(60))
def test_more_bytes_do_not_change_the_answer(upload: bytes) -> None:
    def answer(data: bytes) -> str:
        try:
            return identify(data).demuxer
        except Refusal:
            return "refused"

    assert answer(upload) == answer(upload[:16])


@pytest.mark.parametrize("suffix", ["mp3", "aac"])
@pytest.mark.parametrize("front", ["a frame's rest", "zeros"])
async def test_a_file_cut_within_a_frame_is_read_from_the_next_one(suffix: str, front: str) -> None:
    file = as_file(speech(6.0), 24_000, suffix)
    odd = file[150:] if front == "a frame's rest" else bytes(3_000) + file
    assert identify(odd).demuxer == suffix
    audio = await ReferenceReader().read(odd, transcript_given=False)
    assert 5.0 < audio.seconds < 6.5


def test_no_frames_are_found_in_noise() -> None:
    noise = np.random.default_rng(1)
    found = [find_frames(noise.bytes(2 * FRAME_SEARCH_BYTES)) for _ in range(100)]
    assert found == [None] * 100


@pytest.mark.parametrize("hostile", [b"\xff" * 60_000, b"\xff\xfb" * 30_000, b"\xff\xf1" * 30_000])
def test_no_frames_are_found_in_endless_sync_bytes(hostile: bytes) -> None:
    assert find_frames(hostile) is None
