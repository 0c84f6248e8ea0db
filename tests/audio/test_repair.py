"""One bad sample is not a bad recording, and one loud bang does not make a voice faint."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.audio.cleaning import SPEECH_LEVEL
from bot.audio.reference import ReferenceAudio
from bot.audio.repair import repair
from bot.errors import Reason, Refusal
from tests.support.recordings import resample, speech
from tests.support.refusals import refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from bot.audio.reference import ReferenceReader

RATE = 24_000


def floats(samples: NDArray[np.floating], rate: int = RATE, subtype: str = "FLOAT") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype=subtype)
    return file.getvalue()


def decibels(samples: NDArray[np.float32]) -> float:
    return float(10 * np.log10(np.square(samples).mean(dtype=np.float64)))


def speech_level(audio: ReferenceAudio) -> float:
    """The level of the louder half of the clip, which is speech, in dBFS."""
    power = np.square(audio.samples[: len(audio.samples) // 480 * 480].reshape(-1, 480)).mean(1)
    return float(10 * np.log10(np.median(np.sort(power)[len(power) // 2 :])))


def likeness(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    return float(np.corrcoef(one, other)[0, 1])


@pytest.mark.parametrize(
    ("value", "count", "rate"),
    [
        *((np.nan, count, rate) for count in (1, 10) for rate in (24_000, 48_000)),
        (np.inf, 1, 48_000),
        (-np.inf, 10, 24_000),
        (100.0, 1, 24_000),
        (-30_000.0, 10, 48_000),
        (3e38, 3, 48_000),
    ],
)
async def test_a_few_bad_samples_are_repaired(
    value: float, count: int, rate: int, reader: ReferenceReader
) -> None:
    voice = resample(speech(6.0), RATE, rate)
    clean = await reader.read(floats(voice, rate), transcript_given=True)
    damaged = voice.copy()
    damaged[np.random.default_rng(count).integers(len(voice), size=count)] = value
    audio = await reader.read(floats(damaged, rate), transcript_given=True)
    assert likeness(audio.samples[: 3 * RATE], clean.samples[: 3 * RATE]) > 0.98
    assert speech_level(audio) == pytest.approx(speech_level(clean), abs=0.5)
    assert audio.speech_seconds == pytest.approx(clean.speech_seconds, abs=0.2)


async def test_a_hundredth_may_be_no_numbers(reader: ReferenceReader) -> None:
    clean = await reader.read(floats(speech(6.0)), transcript_given=True)
    bad = np.random.default_rng(0).random(6 * RATE) < 0.01
    audio = await reader.read(floats(np.where(bad, np.nan, speech(6.0))), transcript_given=True)
    assert likeness(audio.samples[: 5 * RATE], clean.samples[: 5 * RATE]) > 0.98


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e4, -1e30])
@pytest.mark.parametrize("share", [0.001, 0.003, 0.006, 0.012, 0.018])
async def test_a_recording_is_repaired_or_called_damaged(
    share: float, value: float, reader: ReferenceReader
) -> None:
    """It is never said that nobody speaks in it."""
    bad = np.random.default_rng(0).random(6 * RATE) < share
    upload = floats(np.where(bad, value, speech(6.0)))
    (answer,) = await asyncio.gather(
        reader.read(upload, transcript_given=True), return_exceptions=True
    )
    if isinstance(answer, Refusal):
        assert answer.reason is Reason.RECORDING_DAMAGED
    else:
        assert isinstance(answer, ReferenceAudio)
        assert answer.speech_seconds > 4.5


@pytest.mark.parametrize("at", [0, -1])
async def test_the_first_and_the_last_sample_may_be_bad(at: int, reader: ReferenceReader) -> None:
    voice = speech(5.0).copy()
    voice[at] = np.nan
    assert np.isfinite((await reader.read(floats(voice), transcript_given=True)).samples).all()


@pytest.mark.parametrize("share", [0.05, 0.5, 1.0])
async def test_many_bad_samples_are_a_damaged_recording(
    share: float, reader: ReferenceReader
) -> None:
    bad = np.random.default_rng(0).random(5 * RATE) < share
    with refused(Reason.RECORDING_DAMAGED):
        await reader.read(floats(np.where(bad, np.nan, speech(5.0))), transcript_given=True)


@pytest.mark.parametrize(
    ("scale", "spike"),
    [(3.0, None), (20.0, 1e3), (2.0**15, 1e3), (2.0**23, None), (2.0**31, 1e3), (1e12, None)],
)
async def test_any_scale_is_understood(
    scale: float, spike: float | None, reader: ReferenceReader
) -> None:
    voice = speech(5.0) * scale
    if spike is not None:
        voice[RATE] = spike * scale
    audio = await reader.read(floats(voice, subtype="DOUBLE"), transcript_given=True)
    assert speech_level(audio) == pytest.approx(SPEECH_LEVEL, abs=3)
    assert audio.notes == ()


def bump(seconds: float, level: float) -> NDArray[np.float32]:
    """A knock on the table: a low tone that dies away."""
    time = np.arange(round(seconds * RATE)) / RATE
    return np.asarray(level * np.sin(440 * time) * np.exp(-time * 3 / seconds), np.float32)


@pytest.mark.parametrize(
    ("voice_level", "bang", "times"),
    [
        (-45, bump(0.002, 1.0), 1),
        (-45, bump(0.2, 0.7), 1),
        (-45, np.full(40, 0.9, np.float32), 8),
        (-40, bump(0.05, 0.9), 3),
        (-20, bump(0.2, 0.7), 3),
    ],
)
async def test_a_bang_does_not_pin_the_level(
    voice_level: int, bang: NDArray[np.float32], times: int, reader: ReferenceReader
) -> None:
    voice = speech(8.0) * np.float32(10 ** ((voice_level - decibels(speech(8.0))) / 20))
    clean = await reader.read(floats(voice), transcript_given=True)
    for start in np.linspace(1.3, 6.9, times):
        voice[round(start * RATE) :][: len(bang)] += bang
    audio = await reader.read(floats(voice), transcript_given=True)
    assert speech_level(audio) == pytest.approx(speech_level(clean), abs=1.5)
    assert np.abs(audio.samples).max() <= 10 ** (-1 / 20) + 1e-6


@pytest.mark.parametrize(
    "below",
    [
        lambda time: 0.3 * np.sin(2 * np.pi * 15 * time),
        lambda time: 0.02 * np.sin(2 * np.pi * 30 * time),
        lambda time: 0.5 * np.sin(2 * np.pi * 0.2 * time),
        lambda time: np.where(time > 3.9, 0.4, -0.2),
    ],
    ids=["15 Hz", "30 Hz", "drift", "step"],
)
async def test_what_is_below_any_voice_does_not_count(
    below: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    reader: ReferenceReader,
) -> None:
    voice = speech(8.0) * np.float32(10 ** ((-30 - decibels(speech(8.0))) / 20))
    clean = await reader.read(floats(voice), transcript_given=True)
    offset = below(np.arange(len(voice)) / RATE).astype(np.float32)
    audio = await reader.read(floats(voice + offset), transcript_given=True)
    assert speech_level(audio) == pytest.approx(speech_level(clean), abs=1)
    assert audio.speech_seconds == pytest.approx(clean.speech_seconds, abs=0.5)
    assert audio.notes == ()


@settings(max_examples=60, deadline=None)
@given(
    bad=st.dictionaries(
        st.integers(0, 4 * RATE - 1),
        st.floats(width=32).filter(lambda value: not abs(value) < 10),
        max_size=20,
    ),
    gain=st.sampled_from([0.01, 0.3, 1.0]),
)
def test_whatever_a_few_samples_hold_the_others_stay(bad: dict[int, float], gain: float) -> None:
    voice = speech(4.0) * np.float32(gain)
    damaged = voice.copy()
    damaged[list(bad)] = list(bad.values())
    repaired = repair(damaged)
    assert np.isfinite(repaired).all()
    changed = np.flatnonzero(repaired != voice)
    for index in changed:
        assert min(abs(index - at) for at in bad) <= 0.002 * RATE
    assert np.abs(repaired).max() <= max(1.0, np.abs(voice).max())
