"""Every kind of recording that people send comes out as the sound that went in."""

from __future__ import annotations

import asyncio
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from structlog.testing import capture_logs

from bot.audio import decode as decoding
from bot.audio.decode import check_decoder, decode
from bot.audio.reference import ReferenceReader
from bot.errors import Reason, Refusal
from tests.support.recordings import CODECS, as_file, as_video, resample, speech
from tests.support.refusals import refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

RATE = 24_000
SECONDS = 4.0


async def decoded(
    upload: bytes, max_seconds: float = 30.0, within_seconds: int = 6
) -> NDArray[np.float32]:
    sound = await decode(
        upload,
        sample_rate=RATE,
        max_seconds=max_seconds,
        within_seconds=within_seconds,
    )
    return sound.samples


def likeness(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Correlation at the best alignment within a tenth of a second; lossy codecs add delays."""
    size = 1 << 18
    spectrum = np.fft.rfft(one, size) * np.conj(np.fft.rfft(other, size))
    correlation = np.fft.irfft(spectrum, size)
    near = np.concatenate([correlation[:2400], correlation[-2400:]])
    return float(near.max() / (np.linalg.norm(one) * np.linalg.norm(other)))


@pytest.mark.parametrize("suffix", CODECS)
async def test_each_kind_of_file_sounds_as_it_was_recorded(suffix: str) -> None:
    voice = speech(SECONDS)
    samples = await decoded(as_file(voice, RATE, suffix))
    assert abs(len(samples) / RATE - SECONDS) < 0.15
    # AMR, of telephones, keeps 4 kHz of 12.
    assert likeness(samples, voice) > (0.7 if suffix == "amr" else 0.97)


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        *(
            ("wav", ("-c:a", f"pcm_{kind}"))
            for kind in ("u8", "s24le", "s32le", "f32le", "f64le", "alaw", "mulaw")
        ),
        ("wav", ("-rf64", "always")),
        ("wav", ("-c:a", "adpcm_ms")),
        *(("wav", ("-ar", rate)) for rate in ("8000", "11025", "22050", "44100", "96000")),
        *(("wav", ("-ac", channels)) for channels in ("2", "6", "8")),
        ("mp3", ("-write_xing", "0", "-id3v2_version", "0", "-map_metadata", "-1")),
        ("mp3", ("-q:a", "9", "-ar", "16000")),
        ("ogg", ("-c:a", "libvorbis")),
        ("ogg", ("-c:a", "flac")),
        ("flac", ("-ac", "2", "-sample_fmt", "s32")),
        ("webm", ("-c:a", "libvorbis")),
        ("m4a", ("-c:a", "alac")),
        ("m4a", ("-movflags", "faststart")),
        ("m4a", ("-movflags", "frag_keyframe+empty_moov")),
        ("aiff", ("-c:a", "pcm_s24be")),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
async def test_each_variant_of_a_kind_is_read(suffix: str, options: tuple[str, ...]) -> None:
    voice = speech(SECONDS)
    samples = await decoded(as_file(voice, RATE, suffix, *options))
    assert abs(len(samples) / RATE - SECONDS) < 0.15
    assert likeness(samples, voice) > 0.9


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("mkv", ("-c:a", "ac3")),
        ("avi", ("-c:a", "libmp3lame")),
        ("avi", ("-c:a", "pcm_s16le")),
        ("wmv", ("-c:a", "wmav2")),
        ("mts", ("-f", "mpegts", "-c:a", "ac3")),
        ("m2ts", ("-f", "mpegts", "-mpegts_m2ts_mode", "1", "-c:a", "ac3")),
        ("mpg", ("-c:v", "mpeg2video", "-r", "25", "-c:a", "mp2")),
        ("flv", ("-c:v", "flv", "-c:a", "aac")),
        ("mov", ("-c:a", "pcm_s24le")),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
async def test_the_sound_of_each_kind_of_video_is_read(
    suffix: str, options: tuple[str, ...]
) -> None:
    voice = speech(SECONDS)
    samples = await decoded(as_video([voice], suffix, *options))
    assert likeness(samples, voice) > 0.9


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [
        ("wma", "wmav2"),
        ("wv", "wavpack"),
        ("tta", "tta"),
        ("au", "pcm_mulaw"),
        ("w64", "pcm_s16le"),
    ],
)
async def test_rarer_kinds_of_recordings_are_read(suffix: str, codec: str) -> None:
    voice = speech(SECONDS)
    samples = await decoded(made_by_ffmpeg(voice, suffix, "-c:a", codec))
    assert likeness(samples, voice) > 0.9


def made_by_ffmpeg(voice: NDArray[np.float32], suffix: str, *options: str) -> bytes:
    command = [decoding.ffmpeg_path(), "-v", "error", "-f", "f32le", "-ar", str(RATE), "-ac", "1"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"recording.{suffix}")
        command += ["-i", "pipe:0", *options, str(path)]
        subprocess.run(command, input=voice.tobytes(), check=True)  # noqa: S603 - our own arguments
        return path.read_bytes()


def gsm_wav() -> bytes:
    """Five seconds of GSM 6.10, as answering machines write it: blocks of 65 bytes."""
    blocks = bytes(65 * 125)
    layout = struct.pack("<IHHIIHHHH", 20, 0x31, 1, 8_000, 1_625, 65, 0, 2, 320)
    chunks = b"WAVEfmt " + layout + b"data" + struct.pack("<I", len(blocks)) + blocks
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


@pytest.mark.parametrize(
    "upload",
    [
        gsm_wav,
        lambda: made_by_ffmpeg(speech(1.0), "wav", "-c:a", "g723_1", "-ar", "8000"),
        lambda: made_by_ffmpeg(speech(1.0), "dts", "-c:a", "dca", "-strict", "-2", "-ar", "48000"),
        lambda: made_by_ffmpeg(speech(1.0), "rm", "-c:a", "real_144", "-ar", "8000"),
        lambda: made_by_ffmpeg(speech(1.0), "voc"),
        lambda: made_by_ffmpeg(speech(1.0), "nut", "-c:a", "pcm_s16le"),
    ],
    ids=["gsm", "g723", "dts", "realaudio", "voc", "nut"],
)
async def test_a_recording_of_another_kind_is_not_called_damaged(
    upload: Callable[[], bytes],
) -> None:
    with refused(Reason.RECORDING_KIND_UNKNOWN):
        await ReferenceReader().read_sound(upload())


@pytest.mark.parametrize("zeros", [500, 20_000, 100_000])
async def test_an_mp3_may_begin_behind_zeros(zeros: int) -> None:
    voice = speech(SECONDS)
    assert likeness(await decoded(bytes(zeros) + as_file(voice, RATE, "mp3")), voice) > 0.95


async def test_a_chain_of_thousands_of_streams_takes_bounded_time() -> None:
    link = as_file(speech(0.06), RATE, "ogg")
    upload = link * 4_000
    before = time.monotonic()
    with suppress(Refusal):
        assert len(await decoded(upload, max_seconds=181.0)) <= 181 * RATE
    assert time.monotonic() - before < 8


async def test_a_phones_m4a_has_its_index_behind_the_sound() -> None:
    upload = as_file(speech(SECONDS), RATE, "m4a")
    assert upload.index(b"mdat") < upload.index(b"moov")
    assert len(await decoded(upload)) / RATE > SECONDS - 0.1


async def test_a_video_whose_sound_begins_late_is_a_recording(tmp_path: Path) -> None:
    sound, video = tmp_path / "sound.m4a", tmp_path / "video.mp4"
    sound.write_bytes(as_file(speech(SECONDS), RATE, "m4a"))
    picture = ("-f", "lavfi", "-i", "color=size=64x64:rate=10:duration=4")
    late = ("-itsoffset", "0.6", "-i", str(sound))
    await asyncio.to_thread(
        subprocess.run,
        [decoding.ffmpeg_path(), "-v", "error", *picture, *late, "-c:a", "copy", str(video)],
        check=True,
    )
    await ReferenceReader().read_sound(video.read_bytes())


@pytest.mark.parametrize("length", [1_000_000, 5_000_000])
@pytest.mark.parametrize("suffix", ["mp3", "flac", "aac"])
async def test_a_cover_picture_does_no_harm(suffix: str, length: int) -> None:
    voice = speech(SECONDS)
    picture = np.random.default_rng(0).bytes(length)
    sizes = bytes(length >> shift & 0x7F for shift in (21, 14, 7, 0))
    upload = b"ID3\x03\x00\x00" + sizes + picture + as_file(voice, RATE, suffix)
    assert likeness(await decoded(upload), voice) > 0.95


@pytest.mark.parametrize("tag_bytes", [0, 100, 1_000_000])
@pytest.mark.parametrize("suffix", ["flac", "aac", "mp3"])
async def test_tags_in_front_are_skipped(suffix: str, tag_bytes: int) -> None:
    voice = speech(SECONDS)
    sizes = bytes(tag_bytes >> shift & 0x7F for shift in (21, 14, 7, 0))
    tag = b"ID3\x04\x00\x00" + sizes + bytes(tag_bytes)
    assert likeness(await decoded(2 * tag + as_file(voice, RATE, suffix)), voice) > 0.95


async def test_a_tag_that_claims_to_be_longer_than_the_file_does_no_harm() -> None:
    voice = speech(SECONDS)
    tag = b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f"
    assert likeness(await decoded(tag + as_file(voice, RATE, "mp3")), voice) > 0.95


@pytest.mark.parametrize("suffix", ["mp3", "aac"])
@pytest.mark.parametrize("front", ["a frame's rest", "zeros"])
async def test_a_file_cut_within_a_frame_is_read_from_the_next_one(suffix: str, front: str) -> None:
    voice = speech(SECONDS)
    file = as_file(voice, RATE, suffix)
    odd = file[150:] if front == "a frame's rest" else bytes(3_000) + file
    assert likeness(await decoded(odd), voice) > 0.9


@pytest.mark.parametrize(
    "upload",
    [
        b"RIFF\x00\x00\x00\x00AVI LIST",
        b"#EXTM3U\n#EXTINF:10,\n/etc/passwd\n",
        b"ffconcat version 1.0\nfile a.wav\n",
        b"\x89PNG\r\n\x1a\n",
        b"\xff" * 60_000,
        b"\xff\xfb" * 30_000,
        b"\xff\xf1" * 30_000,
        np.random.default_rng(1).bytes(25_000_000),
    ],
    ids=["avi", "m3u", "ffconcat", "png", "ones", "mp3 sync", "aac sync", "25 MB of noise"],
)
async def test_what_is_no_recording_is_refused(upload: bytes) -> None:
    with refused(Reason.NOT_A_RECORDING):
        await ReferenceReader().read_sound(upload)


async def test_both_channels_are_heard() -> None:
    voice = speech(SECONDS)
    right_only = np.stack([np.zeros_like(voice), voice], axis=1)
    assert likeness(await decoded(as_file(right_only, RATE, "flac")), voice) > 0.99


async def test_a_wav_with_a_wrong_length_is_read_to_its_end() -> None:
    voice = speech(SECONDS)
    upload = bytearray(as_file(voice, RATE, "wav"))
    for at in (4, upload.index(b"data") + 4):
        struct.pack_into("<I", upload, at, 0xFFFFFFFF)  # as recorders write that cannot go back
    samples = await decoded(bytes(upload))
    assert likeness(samples, voice) > 0.99


async def test_no_more_is_decoded_than_asked_for() -> None:
    samples = await decoded(as_file(speech(SECONDS), RATE, "mp3"), max_seconds=1.5)
    assert len(samples) == 1.5 * RATE


async def test_another_sample_rate_can_be_had() -> None:
    upload = as_file(speech(SECONDS), RATE, "flac")
    sound = await decode(upload, sample_rate=16_000, max_seconds=9, within_seconds=6)
    assert likeness(resample(sound.samples, 16_000, RATE), speech(SECONDS)) > 0.98


@pytest.fixture
def stuck_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o700)
    monkeypatch.setattr(decoding, "ffmpeg_path", lambda: str(program))


@pytest.mark.parametrize(
    "program",
    [
        None,
        "",
        "#!/bin/sh\nexit 1\n",
        "#!/nowhere/interpreter\n",
        "#!/bin/sh\necho 'error while loading shared libraries' >&2\nexit 127\n",
        "#!/bin/sh\nkill -4 $$\n",
    ],
    ids=["missing", "empty", "fails", "no interpreter", "no libraries", "another processor"],
)
async def test_a_decoder_that_does_not_start_is_our_fault(
    program: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ffmpeg"
    if program is not None:
        path.write_text(program)
        path.chmod(0o700)
    monkeypatch.setattr(decoding, "ffmpeg_path", lambda: str(path))
    with capture_logs() as logs:
        with refused(Reason.DECODER_BROKEN):
            await ReferenceReader().read_sound(as_file(speech(1.0), RATE, "wav"))
        assert not await check_decoder()
    assert {entry["log_level"] for entry in logs} == {"error"}


async def test_no_ffmpeg_at_all_is_our_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_none() -> str:
        raise RuntimeError("no ffmpeg exe could be found")

    monkeypatch.setattr(decoding, "ffmpeg_path", find_none)
    with refused(Reason.DECODER_BROKEN):
        await ReferenceReader().read_sound(b"RIFF")


async def test_the_decoder_of_this_machine_works() -> None:
    with capture_logs() as logs:
        assert await check_decoder()
    assert logs == []


@pytest.mark.usefixtures("stuck_decoder")
async def test_a_decoder_that_hangs_is_ended(child_processes: Callable[[], set[int]]) -> None:
    with refused(Reason.RECORDING_TOO_SLOW):
        await decoded(as_file(speech(1.0), RATE, "wav"), within_seconds=1)
    assert child_processes() == set()


@pytest.mark.usefixtures("stuck_decoder")
async def test_a_cancelled_decode_leaves_no_process(
    child_processes: Callable[[], set[int]],
) -> None:
    upload = as_file(speech(1.0), RATE, "wav")
    task = asyncio.create_task(decoded(upload))
    while not child_processes():  # noqa: ASYNC110 - processes send no events
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert child_processes() == set()


@pytest.mark.slow
@pytest.mark.parametrize("milliseconds", [0, 1, 5, 20, 60])
async def test_a_decode_may_be_cancelled_at_any_moment(
    milliseconds: int, child_processes: Callable[[], set[int]]
) -> None:
    upload = as_file(np.tile(speech(SECONDS), 75), RATE, "flac")
    task = asyncio.create_task(decoded(upload, max_seconds=300))
    await asyncio.sleep(milliseconds / 1000)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    deadline = time.monotonic() + 5
    while child_processes() and time.monotonic() < deadline:  # noqa: ASYNC110 - as above
        await asyncio.sleep(0.01)  # asyncio reaps in the background what it was just starting
    assert child_processes() == set()


only_linux = pytest.mark.skipif(sys.platform != "linux", reason="not every system has the limits")


def run_with_limits(script: str, seconds: int = 6) -> subprocess.CompletedProcess[bytes]:
    command = [*decoding._LAUNCHER, str(seconds), sys.executable, "-I", "-c", script]
    return subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - our own scripts


@only_linux
@pytest.mark.slow
@pytest.mark.parametrize(
    ("misdeed", "complaint"),
    [
        ("import os; os.write(os.memfd_create('a'), b'x')", b"File too large"),
        ("bytearray(600_000_000)", b"MemoryError"),
    ],
)
def test_a_decoder_may_neither_write_files_nor_fill_the_memory(
    misdeed: str, complaint: bytes
) -> None:
    done = run_with_limits(misdeed)
    assert done.returncode == 1
    assert complaint in done.stderr


@only_linux
@pytest.mark.slow
@pytest.mark.parametrize("script", ["import time; time.sleep(60)", "while True: pass"])
def test_a_decoder_ends_in_time_without_its_parent(script: str) -> None:
    done = run_with_limits(script, seconds=1)
    assert done.returncode in decoding._ENDED_BY_LIMIT
