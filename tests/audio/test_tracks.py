"""Of a file's tracks and channels, the one with speech is used."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from bot.errors import Note, Reason, Remark
from tests.support.recordings import as_video, speech
from tests.support.refusals import refused

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bot.audio.reference import ReferenceAudio, ReferenceReader

RATE = 24_000
SECONDS = 3.6
LENGTH = round(SECONDS * RATE)
VOICE = speech(SECONDS)
TIME = np.arange(LENGTH) / RATE


def noise(level: float, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(scale=level, size=LENGTH).astype(np.float32)


def chords(level: float) -> NDArray[np.float32]:
    tones = sum(np.sin(2 * np.pi * hertz * TIME) for hertz in (220, 277, 330, 440))
    return np.asarray(level * tones * np.exp(-3 * (TIME % 0.5)), np.float32)


def tone(level: float, hertz: float = 440) -> NDArray[np.float32]:
    return np.asarray(level * np.sin(2 * np.pi * hertz * TIME), np.float32)


SILENCE = np.zeros(LENGTH, np.float32)
NO_SPEECH = {
    "silent": SILENCE,
    "hissing": noise(0.03),
    "a tone": tone(0.3),
    "hum": tone(0.2, 50),
    "music": chords(0.15),
}


def wav(*channels: NDArray[np.float32]) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.stack(channels, axis=1), RATE, format="WAV", subtype="FLOAT")
    return file.getvalue()


def likeness(audio: ReferenceAudio, voice: NDArray[np.float32] = VOICE) -> float:
    """Correlation with the voice at the best alignment."""
    size = 1 << (LENGTH + len(audio.samples)).bit_length()
    spectrum = np.fft.rfft(voice, size) * np.conj(np.fft.rfft(audio.samples, size))
    best = np.abs(np.fft.irfft(spectrum, size)).max()
    return float(best / (np.linalg.norm(voice) * np.linalg.norm(audio.samples)))


@pytest.mark.parametrize(
    ("first", "suffix", "options"),
    [
        ("silent", "mkv", ()),
        ("hissing", "mov", ()),
        ("hissing", "mkv", ("-c:a", "libopus")),
        ("a tone", "mp4", ()),
        ("hum", "mkv", ("-c:a", "ac3")),
        ("music", "avi", ("-c:a", "libmp3lame")),
    ],
)
async def test_the_track_with_speech_is_used(
    first: str, suffix: str, options: tuple[str, ...], reader: ReferenceReader
) -> None:
    upload = as_video([NO_SPEECH[first], VOICE], suffix, *options)
    audio = await reader.read(upload, transcript_given=True)
    assert likeness(audio) > 0.9
    assert audio.notes == ()


async def test_it_may_be_the_fourth_track_and_have_two_channels(reader: ReferenceReader) -> None:
    both = np.stack([VOICE, VOICE], axis=1)
    upload = as_video([SILENCE, noise(0.05), tone(0.2), both], "mkv")
    assert likeness(await reader.read(upload, transcript_given=True)) > 0.9


async def test_of_two_tracks_with_speech_the_clearer_one_is_used(reader: ReferenceReader) -> None:
    upload = as_video([VOICE * np.float32(0.3) + noise(0.03), VOICE], "mp4")
    audio = await reader.read(upload, transcript_given=True)
    assert likeness(audio) > 0.95
    assert audio.notes == ()


async def test_the_first_track_is_used_if_it_is_good(reader: ReferenceReader) -> None:
    upload = as_video([VOICE, speech(8.0)[-LENGTH:]], "mkv")
    assert likeness(await reader.read(upload, transcript_given=True)) > 0.9


@pytest.mark.parametrize("tracks", [["silent", "hissing"], ["a tone", "silent"]])
async def test_speech_in_no_track_is_no_speech(tracks: list[str], reader: ReferenceReader) -> None:
    upload = as_video([NO_SPEECH[track] for track in tracks], "mkv")
    with refused(Reason.NO_SPEECH):
        await reader.read(upload, transcript_given=False)


@pytest.mark.parametrize(
    "channels",
    [
        (VOICE, -VOICE),
        (VOICE + noise(0.01, 1), noise(0.01, 2) - VOICE),
        (VOICE, noise(0.2)),
        (noise(0.2), VOICE),
        (tone(0.5), VOICE),
        (SILENCE, VOICE),
        (chords(0.2), VOICE),
        (VOICE, -VOICE, VOICE, -VOICE),
        (noise(0.1, 1), noise(0.1, 2), VOICE, noise(0.1, 3), noise(0.1, 4), noise(0.1, 5)),
    ],
    ids=range(9),
)
async def test_the_channel_with_speech_is_used(
    channels: tuple[NDArray[np.float32], ...], reader: ReferenceReader
) -> None:
    audio = await reader.read(wav(*channels), transcript_given=True)
    assert likeness(audio) > 0.97
    assert audio.notes == ()


@pytest.mark.parametrize(
    ("count", "at"), [(3, 2), (6, 3), (9, 8), (10, 9), (12, 11), (16, 15), (24, 3), (32, 5)]
)
async def test_one_of_many_channels_may_have_the_speech(
    count: int, at: int, reader: ReferenceReader
) -> None:
    channels = [SILENCE] * count
    channels[at] = VOICE
    assert likeness(await reader.read(wav(*channels), transcript_given=True)) > 0.97


@pytest.mark.parametrize("other", [noise(0.2), noise(0.05), tone(0.3)], ids=range(3))
async def test_speech_without_a_pause_is_found_in_its_channel(
    other: NDArray[np.float32], reader: ReferenceReader
) -> None:
    breathless = np.tile(VOICE[RATE // 5 :][: round(1.2 * RATE)], 3)
    audio = await reader.read(wav(other, breathless), transcript_given=True)
    assert likeness(audio, breathless) > 0.97


async def test_channels_in_opposite_phase_of_the_second_track(reader: ReferenceReader) -> None:
    opposite = np.stack([VOICE + noise(0.003, 1), noise(0.003, 2) - VOICE], axis=1)
    upload = as_video([noise(0.02), opposite], "mkv")
    assert likeness(await reader.read(upload, transcript_given=True)) > 0.9


async def test_noise_in_all_channels_is_still_noted(reader: ReferenceReader) -> None:
    noisy = [VOICE * np.float32(0.4) + noise(0.07, seed) for seed in (1, 2)]
    audio = await reader.read(wav(*noisy), transcript_given=True)
    assert audio.notes == (Note(Remark.RECORDING_NOISY),)
