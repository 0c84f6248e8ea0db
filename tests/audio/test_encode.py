from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.audio.decode import ffmpeg_path
from bot.audio.encode import (
    MAX_FILE_SECONDS,
    MIN_LIMIT_BYTES,
    AudioFormat,
    SpeechEncodingError,
    SpeechFile,
    encode_speech,
    waveform,
)
from bot.audio.temporary import delete_leftovers
from tests.support.recordings import speech

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

RATE = 24_000
DISCORD_LIMIT = 10 * 1024 * 1024

every_format = pytest.mark.parametrize("audio_format", AudioFormat)


def pcm_of(samples: NDArray[np.floating]) -> bytes:
    return (samples * 32_767).astype("<i2").tobytes()


def played(file: SpeechFile, sample_rate: int = RATE) -> NDArray[np.float32]:
    """What a listener's player makes of the file."""
    command = [ffmpeg_path(), "-nostdin", "-loglevel", "error", "-i", "pipe:0"]
    command += ["-f", "f32le", "-ac", "1", "-ar", str(sample_rate), "pipe:1"]
    done = subprocess.run(command, input=file.data, capture_output=True, check=True)  # noqa: S603 - our own arguments
    return np.frombuffer(done.stdout, np.float32)


def described(file: SpeechFile) -> str:
    """What ffmpeg says of the file."""
    command = [ffmpeg_path(), "-nostdin", "-hide_banner", "-i", "pipe:0", "-f", "null", "-"]
    done = subprocess.run(command, input=file.data, capture_output=True, check=True)  # noqa: S603 - our own arguments
    return done.stderr.decode()


def likeness(heard: NDArray[np.float32], said: NDArray[np.float32]) -> float:
    """Correlation, 1 for the same wave."""
    length = min(len(heard), len(said))
    return float(np.corrcoef(heard[:length], said[:length])[0, 1])


@every_format
@pytest.mark.parametrize("sample_rate", [22_050, 24_000])
async def test_what_is_played_is_what_was_said(audio_format: AudioFormat, sample_rate: int) -> None:
    said = speech(6)[: 5 * sample_rate]

    (file,) = await encode_speech(
        pcm_of(said), sample_rate, audio_format, limit_bytes=DISCORD_LIMIT, stem="speech"
    )

    heard = played(file, sample_rate)
    assert file.name == f"speech.{audio_format}"
    assert file.seconds == pytest.approx(5)
    assert len(heard) / sample_rate == pytest.approx(5, abs=0.06)
    lossless = audio_format in {AudioFormat.WAV, AudioFormat.FLAC}
    assert likeness(heard, said) > (0.9999 if lossless else 0.97)


async def test_ogg_is_opus_as_discord_plays_it() -> None:
    (file,) = await encode_speech(
        pcm_of(speech(2)), RATE, AudioFormat.OGG, limit_bytes=DISCORD_LIMIT, stem="speech"
    )

    assert file.data.startswith(b"OggS")
    assert "Audio: opus, 48000 Hz, mono" in described(file)
    header = file.data.index(b"OpusHead")  # RFC 7845, section 5.1
    assert file.data[header + 9] == 1
    assert int.from_bytes(file.data[header + 12 : header + 16], "little") == 48_000


@every_format
async def test_the_file_does_not_carry_its_name(audio_format: AudioFormat) -> None:
    (file,) = await encode_speech(
        pcm_of(speech(1)), RATE, audio_format, limit_bytes=DISCORD_LIMIT, stem="marigold"
    )

    assert b"marigold" not in file.data
    assert "marigold" not in repr(file).replace(file.name, "")


@pytest.mark.parametrize("audio_format", [AudioFormat.OGG, AudioFormat.MP3])
async def test_bit_rate_gives_way_before_the_speech_is_split(audio_format: AudioFormat) -> None:
    said = speech(10)
    sizes = []
    for limit in (200_000, 70_000, 50_000):
        (file,) = await encode_speech(
            pcm_of(said), RATE, audio_format, limit_bytes=limit, stem="speech"
        )
        assert len(file.data) <= limit
        assert likeness(played(file), said) > 0.9
        sizes.append(len(file.data))

    assert sizes[0] > sizes[1] > sizes[2]


async def test_parts_are_named_in_order_and_make_up_the_whole() -> None:
    said = speech(10)

    files = await encode_speech(
        pcm_of(said), RATE, AudioFormat.WAV, limit_bytes=200_000, stem="speech"
    )

    assert [file.name for file in files] == [
        "speech-1-of-3.wav",
        "speech-2-of-3.wav",
        "speech-3-of-3.wav",
    ]
    heard = np.concatenate([played(file) for file in files])
    assert len(heard) == len(said)
    assert likeness(heard, said) > 0.9999


async def test_parts_end_at_the_breaks_between_sentences() -> None:
    breaks = [3 * RATE, 5 * RATE, 8 * RATE]

    files = await encode_speech(
        pcm_of(speech(10)),
        RATE,
        AudioFormat.WAV,
        limit_bytes=6 * RATE * 2,
        stem="speech",
        breaks=breaks,
    )

    assert [file.seconds for file in files] == [5.0, 5.0]


async def test_without_breaks_parts_end_where_it_is_quiet() -> None:
    tone = np.sin(np.arange(10 * RATE) / 10) / 2
    tone[round(4.2 * RATE) : round(4.3 * RATE)] = 0

    files = await encode_speech(
        pcm_of(tone), RATE, AudioFormat.WAV, limit_bytes=7 * RATE * 2, stem="speech"
    )

    assert [file.seconds for file in files] == pytest.approx([4.25, 5.75], abs=0.05)


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(
    seconds=st.floats(0.001, 5),
    limit_bytes=st.integers(MIN_LIMIT_BYTES, 60_000),
    audio_format=st.sampled_from(AudioFormat),
    breaks=st.lists(st.integers(-10, 6 * RATE), max_size=5),
)
def test_every_part_fits_and_nothing_is_missing(
    seconds: float, limit_bytes: int, audio_format: AudioFormat, breaks: list[int]
) -> None:
    pcm = pcm_of(speech(5)[: max(1, int(seconds * RATE))])

    files = asyncio.run(
        encode_speech(
            pcm, RATE, audio_format, limit_bytes=limit_bytes, stem="speech", breaks=breaks
        )
    )

    assert max(len(file.data) for file in files) <= limit_bytes
    assert min(file.seconds for file in files) >= 0.02
    assert sum(file.seconds for file in files) == pytest.approx(len(pcm) / 2 / RATE, abs=0.021)
    assert len({file.name for file in files}) == len(files)


@every_format
@pytest.mark.parametrize("pcm", [b"\x01\x00", b"\x00\x00" * RATE], ids=["one sample", "silence"])
async def test_next_to_nothing_is_still_a_file(audio_format: AudioFormat, pcm: bytes) -> None:
    (file, *more) = await encode_speech(
        pcm, RATE, audio_format, limit_bytes=DISCORD_LIMIT, stem="speech"
    )

    assert not more
    assert len(played(file)) / RATE == pytest.approx(file.seconds, abs=0.06)


@pytest.mark.parametrize(
    ("pcm", "limit_bytes"),
    [
        (b"", DISCORD_LIMIT),
        (b"\x00\x00\x00", DISCORD_LIMIT),
        (bytes(16_000), MIN_LIMIT_BYTES - 1),
    ],
    ids=["nothing", "half a sample", "no room"],
)
async def test_what_cannot_be_encoded_is_refused(pcm: bytes, limit_bytes: int) -> None:
    with pytest.raises(ValueError, match=r"."):
        await encode_speech(pcm, 8_000, AudioFormat.OGG, limit_bytes=limit_bytes, stem="speech")


async def test_speech_of_more_than_half_an_hour_becomes_parts() -> None:
    minutes = 33
    steps = np.arange(minutes * 60 * 1_000) // 1_000 % 60  # the second, as the sample's value
    pcm = (steps * 500).astype("<i2").tobytes()
    end = (minutes * 60 - 14 * 60) * 1_000

    files = await encode_speech(
        pcm, 1_000, AudioFormat.FLAC, limit_bytes=DISCORD_LIMIT, stem="speech", breaks=[end]
    )

    assert [file.name for file in files] == ["speech-1-of-2.flac", "speech-2-of-2.flac"]
    assert [file.seconds for file in files] == [19 * 60, 14 * 60]
    assert max(file.seconds for file in files) <= MAX_FILE_SECONDS
    heard = np.concatenate([played(file, 1_000) for file in files])
    assert (heard * 32_768).round().astype("<i2").tobytes() == pcm


async def test_the_names_of_parts_count_on() -> None:
    files = await encode_speech(
        pcm_of(speech(6)),
        RATE,
        AudioFormat.WAV,
        limit_bytes=200_000,
        stem="speech",
        parts_before=3,
    )
    assert [file.name for file in files] == ["speech-4-of-5.wav", "speech-5-of-5.wav"]


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.mark.parametrize("script", ["", "#!/bin/sh\nexit 1\n", "#!/bin/sh\nkill -9 $$\n"])
@pytest.mark.parametrize("audio_format", [AudioFormat.OGG, AudioFormat.MP3, AudioFormat.FLAC])
async def test_a_failing_encoder_is_reported_and_leaves_nothing(
    script: str,
    audio_format: AudioFormat,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    temporary: Path,
) -> None:
    program = tmp_path / "ffmpeg"
    if script:
        program.write_text(script)
        program.chmod(0o700)
    monkeypatch.setattr("bot.audio.encode.ffmpeg_path", lambda: str(program))

    with pytest.raises(SpeechEncodingError):
        await encode_speech(
            pcm_of(speech(1)), RATE, audio_format, limit_bytes=DISCORD_LIMIT, stem="speech"
        )
    assert os.listdir(temporary) == []  # noqa: PTH208 - nothing waits for it


@every_format
async def test_encoding_leaves_nothing(audio_format: AudioFormat, temporary: Path) -> None:
    await encode_speech(
        pcm_of(speech(2)), RATE, audio_format, limit_bytes=MIN_LIMIT_BYTES, stem="speech"
    )
    assert os.listdir(temporary) == []  # noqa: PTH208 - nothing waits for it


def test_what_a_killed_encoding_left_is_deleted_at_the_next_start(temporary: Path) -> None:
    script = (
        "from bot.audio.temporary import private_folder\n"
        "with private_folder() as folder:\n"
        "    (folder / 'speech.wav').write_bytes(bytes(1000))\n"
        "    print(flush=True)\n"
        "    input()\n"
    )
    with subprocess.Popen(  # noqa: S603 - our own script
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(temporary)},
    ) as encoding:
        assert encoding.stdout is not None
        encoding.stdout.readline()
        (temporary / "somebody-elses").mkdir()
        assert len(list(temporary.glob("*/speech.wav"))) == 1

        assert delete_leftovers() == 0, "it is still in use"
        assert len(list(temporary.glob("*/speech.wav"))) == 1
        encoding.kill()
        encoding.wait()
    assert delete_leftovers() == 1
    assert [left.name for left in temporary.iterdir()] == ["somebody-elses"]


async def test_the_event_loop_runs_on_meanwhile() -> None:
    turns = 0
    encoding = asyncio.create_task(
        encode_speech(
            pcm_of(np.tile(speech(10), 3)),
            RATE,
            AudioFormat.OGG,
            limit_bytes=DISCORD_LIMIT,
            stem="speech",
        )
    )
    while not encoding.done():
        await asyncio.sleep(0.005)
        turns += 1

    assert encoding.result()
    assert turns > 10


def noise(loudness: list[float], seconds_each: float = 0.5) -> bytes:
    """Noise that is as loud as told, one stretch after the other."""
    steady = np.random.default_rng(7).uniform(-1, 1, round(seconds_each * RATE))
    samples = np.concatenate([level * steady for level in loudness])
    return (samples * 32_767).astype("<i2").tobytes()


def test_a_waveform_is_high_where_the_speech_is_loud() -> None:
    drawn = waveform(noise([0.0, 0.5, 0.25]), RATE)
    assert len(drawn) == 15
    assert set(drawn[:5]) == {0}
    assert list(drawn[5:10]) == pytest.approx([255] * 5, abs=10)
    assert list(drawn[10:]) == pytest.approx([128] * 5, abs=10)


def test_the_waveform_of_quiet_speech_is_as_high_as_that_of_loud() -> None:
    loud, quiet = waveform(noise([1.0, 0.5]), RATE), waveform(noise([0.1, 0.05]), RATE)
    assert list(quiet) == pytest.approx(list(loud), abs=3)


@given(
    samples=st.integers(1, 40 * RATE),
    level=st.integers(-32_768, 32_767),
    rate=st.sampled_from([8_000, 24_000, 48_000]),
)
def test_a_waveform_never_has_more_points_than_discord_takes(
    samples: int, level: int, rate: int
) -> None:
    drawn = waveform(np.full(samples, level, "<i2").tobytes(), rate)
    assert 1 <= len(drawn) <= 256
    assert min(drawn) == max(drawn) == (255 if level else 0)


def test_there_is_no_waveform_of_nothing() -> None:
    with pytest.raises(ValueError, match="nothing"):
        waveform(b"", RATE)
