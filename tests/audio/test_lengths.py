"""A recording of 3 to 30 seconds is taken, whatever its pauses and its kind of file."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from backend.contract import is_reference_length
from bot.errors import Reason, Refusal, Remark
from tests.support.recordings import as_file, speech
from tests.support.refusals import refused

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bot.audio.reference import ReferenceReader

RATE = 24_000


def silence(seconds: float) -> NDArray[np.float32]:
    return np.zeros(round(seconds * RATE), np.float32)


def wav(*parts: NDArray[np.float32]) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.concatenate(parts), RATE, format="WAV", subtype="PCM_16")
    return file.getvalue()


def cut(start: float, seconds: float) -> NDArray[np.float32]:
    """Running speech, cut wherever it happens to be."""
    return speech(60.0)[round(start * RATE) :][: round(seconds * RATE)]


@pytest.mark.parametrize("start", np.arange(0.0, 25.0, 1.7).round(1).tolist())
async def test_three_seconds_of_running_speech_are_enough(
    start: float, reader: ReferenceReader
) -> None:
    audio = await reader.read(wav(cut(start, 3.0)), transcript_given=start > 12)
    assert 3.0 <= audio.seconds <= 3.05
    assert is_reference_length(audio.seconds)
    assert audio.notes == ()


@pytest.mark.parametrize(
    ("suffix", "seconds"),
    [("mp3", 3.0), ("m4a", 3.0), ("aac", 3.0), ("ogg", 3.0), ("amr", 3.0), ("aac", 30.0)],
)
async def test_whatever_a_codec_adds_or_drops(
    suffix: str, seconds: float, reader: ReferenceReader
) -> None:
    audio = await reader.read(as_file(cut(1.2, seconds), RATE, suffix), transcript_given=True)
    assert audio.seconds == pytest.approx(seconds, abs=0.4)
    assert is_reference_length(audio.seconds)
    assert audio.notes == ()


@pytest.mark.parametrize(
    ("start", "seconds"), [(0.0, 29.8), (2.3, 29.9), (0.9, 30.0), (4.1, 30.0), (2.3, 30.2)]
)
async def test_half_a_minute_is_used_whole(
    start: float, seconds: float, reader: ReferenceReader
) -> None:
    audio = await reader.read(wav(cut(start, seconds)), transcript_given=start > 1)
    assert 29.0 < audio.seconds <= 30.0
    assert audio.notes == ()


@pytest.mark.parametrize("seconds", [0.9, 1.7, 2.4, 2.8])
async def test_less_than_three_seconds_are_too_little(
    seconds: float, reader: ReferenceReader
) -> None:
    with refused(Reason.TOO_LITTLE_SPEECH, seconds=pytest.approx(seconds, abs=0.5), minimum=3):
        await reader.read(wav(cut(0.2, seconds)), transcript_given=False)


async def test_a_word_now_and_then_is_too_little(reader: ReferenceReader) -> None:
    word = cut(0.1, 0.5)
    upload = wav(word, silence(4), word, silence(4))
    with refused(Reason.MOSTLY_PAUSES, seconds=pytest.approx(1.0, abs=0.3), minimum=3):
        await reader.read(upload, transcript_given=False)


async def test_just_over_half_a_minute_is_not_shown_as_half_a_minute(
    reader: ReferenceReader,
) -> None:
    breathless = np.tile(cut(0.2, 2.0), 16)[: round(30.6 * RATE)]
    with refused(Reason.TOO_LONG_FOR_TRANSCRIPT, seconds=30.6, maximum=30):
        await reader.read(wav(breathless), transcript_given=True)


@pytest.mark.parametrize("pause", [2.0, 8.0, 20.0])
async def test_a_long_pause_is_shortened_unless_there_is_a_transcript(
    pause: float, reader: ReferenceReader
) -> None:
    upload = wav(cut(0, 3.5), silence(pause), cut(0, 3.5))
    shortened = await reader.read(upload, transcript_given=False)
    whole = await reader.read(upload, transcript_given=True)
    assert whole.seconds == pytest.approx(7 + pause, abs=0.4)
    assert shortened.seconds == pytest.approx(7.6, abs=0.4)
    assert shortened.speech_seconds == pytest.approx(whole.speech_seconds)
    assert not np.any(np.abs(np.diff(shortened.samples)) > 0.4), "the pause is cut without a click"


@pytest.mark.parametrize(
    ("pieces", "pause"), [((3.5, 3.5), 25.0), ((3.5, 3.5), 70.0), ((1.5,) * 5, 9.0)]
)
async def test_pauses_do_not_make_a_recording_too_long(
    pieces: tuple[float, ...], pause: float, reader: ReferenceReader
) -> None:
    parts = [part for seconds in pieces for part in (cut(0, seconds), silence(pause))]
    audio = await reader.read(wav(*parts), transcript_given=False)
    assert audio.seconds == pytest.approx(sum(pieces) + 0.6 * (len(pieces) - 1), abs=0.6)
    assert audio.speech_seconds > 0.8 * sum(pieces)
    assert audio.notes == ()


async def test_a_short_pause_stays(reader: ReferenceReader) -> None:
    upload = wav(cut(0, 3.5), silence(0.7), cut(0, 3.5))
    audio = await reader.read(upload, transcript_given=False)
    assert audio.seconds == pytest.approx(7.7, abs=0.2)


async def test_a_longer_stretch_is_better_than_one_that_is_a_little_louder(
    reader: ReferenceReader,
) -> None:
    louder = np.tile(cut(0.2, 2.0), 7)
    longer = np.tile(cut(0.2, 2.0), 9) * np.float32(10 ** (-3 / 20))
    audio = await reader.read(wav(louder, silence(20), longer), transcript_given=False)
    assert audio.seconds == pytest.approx(18, abs=0.5)


async def test_a_word_without_a_flaw_is_not_better_than_long_speech_with_one(
    reader: ReferenceReader,
) -> None:
    clipped = np.clip(cut(0, 35.0) * 20, -1, 1)
    audio = await reader.read(wav(cut(0.2, 0.5), silence(1), clipped), transcript_given=False)
    assert audio.seconds > 3
    assert Remark.RECORDING_CLIPS in [note.remark for note in audio.notes]


async def test_a_trace_of_speech_is_none(reader: ReferenceReader) -> None:
    """Nobody is told that a recording has 0.0 seconds."""
    speech_seconds = np.arange(0.1, 0.5, 0.05)
    for seconds in speech_seconds.tolist():
        with pytest.raises(Refusal) as refusal:
            await reader.read(
                wav(silence(2), cut(0.3, seconds), silence(2)), transcript_given=False
            )
        assert refusal.value.reason in {Reason.NO_SPEECH, Reason.TOO_LITTLE_SPEECH}
        assert refusal.value.values.get("seconds") != 0
