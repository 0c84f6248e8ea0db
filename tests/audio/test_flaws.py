"""What makes a voice worse is noted: music, noise, a second voice. Otherwise nothing is."""

from __future__ import annotations

import io
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
import soxr

from bot.errors import Remark
from tests.support.recordings import speech

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bot.audio.reference import ReferenceReader

RATE = 24_000
SECONDS = 12.0
TIME = np.arange(round(SECONDS * RATE)) / RATE
NOISE = np.random.default_rng(1).normal(size=len(TIME))


def wav(samples: NDArray[np.floating]) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, 0.5 * samples, RATE, format="WAV", subtype="PCM_16")
    return file.getvalue()


def higher(voice: NDArray[np.float32], semitones: float) -> NDArray[np.float32]:
    """The voice played faster: of a smaller person who speaks faster."""
    return np.asarray(soxr.resample(voice, RATE, RATE / 2 ** (semitones / 12)), np.float32)


def coloured(slope: float) -> NDArray[np.float64]:
    spectrum = np.fft.rfft(NOISE)
    spectrum /= np.maximum(40, np.arange(len(spectrum))) ** slope
    return np.asarray(np.fft.irfft(spectrum, len(NOISE)))


def melody() -> NDArray[np.float64]:
    notes = 220 * 2 ** (np.array([0, 2, 4, 5, 7, 9, 11, 12]) / 12)
    hertz = notes[(TIME * 3).astype(int) % len(notes)]
    return np.asarray(np.sin(2 * np.pi * np.cumsum(hertz) / RATE))


def chords() -> NDArray[np.float64]:
    tones = [np.sin(2 * np.pi * hertz * TIME) for hertz in (220, 277, 330, 440)]
    return np.asarray(np.sum(tones, axis=0) * np.exp(-3 * (TIME % 0.5)))


def behind(voice: NDArray[np.float32], other: NDArray[np.floating], decibels: float) -> bytes:
    """The voice with another sound that is so many decibels below it."""
    other = other * np.sqrt(np.mean(voice**2) / np.mean(other**2))
    return wav(voice + other * 10 ** (-decibels / 20))


async def remarks(upload: bytes, reader: ReferenceReader) -> list[Remark]:
    audio = await reader.read(upload, transcript_given=False)
    return [note.remark for note in audio.notes]


@pytest.mark.parametrize("decibels", [10, 25])
@pytest.mark.parametrize("music", [melody(), chords()], ids=["melody", "chords"])
async def test_music_is_noted(
    music: NDArray[np.float64], decibels: float, reader: ReferenceReader
) -> None:
    noted = await remarks(behind(speech(SECONDS), music, decibels), reader)
    assert Remark.RECORDING_HAS_MUSIC in noted
    assert Remark.RECORDING_NOISY not in noted


@pytest.mark.parametrize("slope", [0, 0.5, 1], ids=["white", "pink", "brown"])
@pytest.mark.parametrize("decibels", [14, 25])
async def test_a_little_noise_is_neither_music_nor_worth_a_note(
    slope: float, decibels: float, reader: ReferenceReader
) -> None:
    assert await remarks(behind(speech(SECONDS), coloured(slope), decibels), reader) == []


async def test_much_noise_is_noted(reader: ReferenceReader) -> None:
    assert await remarks(behind(speech(SECONDS), NOISE, 7), reader) == [Remark.RECORDING_NOISY]


@pytest.mark.parametrize("semitones", [9, 12])
async def test_two_voices_are_noted_whether_they_pause_or_not(
    semitones: float, reader: ReferenceReader
) -> None:
    turns = speech(24.0)
    cuts = np.arange(0, len(turns) + 1, 3 * RATE)
    voices = [turns[start:end] for start, end in pairwise(cuts)]
    voices = [higher(voice, semitones * (turn % 2)) for turn, voice in enumerate(voices)]
    assert await remarks(wav(np.concatenate(voices)), reader) == [Remark.RECORDING_HAS_TWO_VOICES]


@pytest.mark.parametrize("semitones", [-3, 0, 6, 12])
@pytest.mark.parametrize("seconds", [6.5, 24.0])
async def test_one_voice_has_no_notes(
    semitones: float, seconds: float, reader: ReferenceReader
) -> None:
    assert await remarks(wav(higher(speech(seconds), semitones)), reader) == []
