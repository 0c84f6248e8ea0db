"""A recording becomes a reference: its speech, all at one level, or a reason why not."""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bot.audio import reference
from bot.audio.decode import Sound
from bot.audio.reference import ReferenceReader, check_upload
from bot.errors import Note, Reason, Refusal, Remark
from tests.support.recordings import as_file, speech
from tests.support.refusals import refused

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bot.audio.reference import ReferenceAudio

RATE = 24_000


def silence(seconds: float) -> NDArray[np.float32]:
    return np.zeros(round(seconds * RATE), np.float32)


def sound(*parts: NDArray[np.float32]) -> bytes:
    return as_file(np.concatenate(parts), RATE, "flac")


def decibels(samples: NDArray[np.float32]) -> float:
    return float(10 * np.log10(np.square(samples).mean(dtype=np.float64)))


def start_of(audio: ReferenceAudio, recording: NDArray[np.float32]) -> float:
    """The second of the recording at which the clip starts."""
    size = 1 << (len(recording) + len(audio.samples)).bit_length()
    spectrum = np.fft.rfft(recording, size) * np.conj(np.fft.rfft(audio.samples, size))
    return int(np.fft.irfft(spectrum, size)[: len(recording)].argmax()) / RATE


async def test_a_short_recording_is_used_whole_and_without_remarks(
    reader: ReferenceReader,
) -> None:
    voice = speech(7.0)
    audio = await reader.read(as_file(voice, RATE, "m4a"), transcript_given=True)
    assert 6.5 < audio.seconds <= 7.0
    assert 5.5 < audio.speech_seconds < 6.8
    assert audio.notes == ()
    assert audio.samples.dtype == np.float32


async def test_silence_around_the_speech_is_cut_but_for_a_margin(
    reader: ReferenceReader,
) -> None:
    recording = np.concatenate([silence(5), speech(6.0), silence(9)])
    audio = await reader.read(sound(recording), transcript_given=True)
    assert 5.8 < audio.seconds < 6.6
    assert 4.7 < start_of(audio, recording) < 5.1
    assert decibels(audio.samples[: RATE // 20]) < -50


@pytest.mark.parametrize("gain", [0.01, 0.1, 0.5])
async def test_all_clips_speak_at_one_level(gain: float, reader: ReferenceReader) -> None:
    voice = speech(6.0) * np.float32(gain)
    audio = await reader.read(sound(voice), transcript_given=False)
    # The level counts the windows with speech; the pauses between them make the whole fainter.
    assert -25.0 < decibels(audio.samples) < -22.5
    assert np.abs(audio.samples).max() <= 10 ** (-1 / 20) + 1e-6


async def test_a_constant_offset_is_taken_away(reader: ReferenceReader) -> None:
    recording = speech(6.0) * np.float32(0.3) + np.float32(0.4)
    audio = await reader.read(sound(recording), transcript_given=False)
    assert abs(float(audio.samples.mean())) < 0.001
    assert audio.speech_seconds > 4.5


async def test_floats_on_the_scale_of_integers_are_understood(reader: ReferenceReader) -> None:
    recording = speech(6.0) * np.float32(32_768)
    upload = as_file(recording, RATE, "wav", "-c:a", "pcm_f32le")
    assert (await reader.read(upload, transcript_given=False)).speech_seconds > 4.5


async def test_speech_counts_and_silence_does_not(reader: ReferenceReader) -> None:
    upload = sound(silence(8), speech(2.0), silence(8))
    with pytest.raises(Refusal) as refusal:
        await reader.read(upload, transcript_given=False)
    assert refusal.value.reason is Reason.TOO_LITTLE_SPEECH
    assert refusal.value.values["minimum"] == 3
    assert re.fullmatch(r"[12]\.\d", str(refusal.value.values["seconds"]))


async def test_speech_may_be_spread_over_half_a_minute(reader: ReferenceReader) -> None:
    upload = sound(speech(2.0), silence(22), speech(2.0))
    audio = await reader.read(upload, transcript_given=True)
    assert 25 < audio.seconds < 26.5
    assert 3 < audio.speech_seconds < 4


@pytest.mark.slow
async def test_of_a_long_recording_the_best_20_seconds_are_used(reader: ReferenceReader) -> None:
    audio = await reader.read(sound(speech(60.0)), transcript_given=False)
    assert 10 <= audio.seconds <= 20
    assert audio.speech_seconds > 0.75 * audio.seconds
    assert audio.notes[0].remark is Remark.RECORDING_SHORTENED
    assert audio.notes[0].values == {
        "seconds": pytest.approx(60),
        "used": pytest.approx(audio.seconds, abs=0.31),
    }
    for edge in (audio.samples[: RATE // 20], audio.samples[-RATE // 20 :]):
        assert decibels(edge) < -45  # in a pause, not in a word


async def test_the_best_part_is_neither_faint_nor_clipped(reader: ReferenceReader) -> None:
    voice = speech(20.0)
    clipped = np.clip(voice * 8, -1, 1)
    faint = voice * np.float32(0.03)
    recording = np.concatenate([clipped, silence(1), voice * np.float32(0.5), silence(1), faint])
    audio = await reader.read(sound(recording), transcript_given=False)
    assert 20.5 < start_of(audio, recording) < 31.5


async def test_speech_without_a_pause_is_cut_all_the_same(reader: ReferenceReader) -> None:
    voice = speech(20.0)
    breathless = np.concatenate([voice[2 * RATE :][: 2 * RATE]] * 25)
    audio = await reader.read(sound(breathless), transcript_given=False)
    assert 9 < audio.seconds <= 20


async def test_a_long_recording_cannot_have_a_transcript(reader: ReferenceReader) -> None:
    with refused(Reason.TOO_LONG_FOR_TRANSCRIPT, seconds=pytest.approx(60), maximum=30):
        await reader.read(sound(speech(60.0)), transcript_given=True)


@pytest.mark.slow
async def test_three_minutes_are_heard_and_no_more(reader: ReferenceReader) -> None:
    voice = speech(6.0)
    early = await reader.read(sound(voice, silence(600)), transcript_given=False)
    assert early.notes[0].remark is Remark.LONG_RECORDING_SHORTENED
    assert early.notes[0].values["minutes"] == 3
    with refused(Reason.MUCH_TOO_LONG_FOR_TRANSCRIPT, minutes=3, maximum=30):
        await reader.read(sound(voice, silence(600)), transcript_given=True)
    with refused(Reason.TOO_LITTLE_SPEECH_IN_LONG_RECORDING, minutes=3):
        await reader.read(sound(silence(181), voice), transcript_given=False)


async def test_flaws_are_noted_and_not_refused(reader: ReferenceReader) -> None:
    voice = speech(8.0)
    noise = np.random.default_rng(0).normal(scale=0.05, size=len(voice)).astype(np.float32)
    noisy = await reader.read(sound(voice * np.float32(0.4) + noise), transcript_given=True)
    loud = await reader.read(sound(np.clip(voice * 6, -1, 1)), transcript_given=True)
    assert noisy.notes == (Note(Remark.RECORDING_NOISY),)
    assert loud.notes == (Note(Remark.RECORDING_CLIPS),)


def test_the_size_is_checked_before_the_download() -> None:
    check_upload(25 * 1024 * 1024)
    with refused(Reason.UPLOAD_TOO_LARGE, megabytes=25):
        check_upload(25 * 1024 * 1024 + 1)
    with refused(Reason.UPLOAD_EMPTY):
        check_upload(0)


async def test_the_bot_stays_responsive_meanwhile(reader: ReferenceReader) -> None:
    upload = sound(speech(60.0), speech(60.0))
    reading = asyncio.create_task(reader.read(upload, transcript_given=False))
    pauses = []
    while not reading.done():
        # What this thread computes, for a busy machine may let it wait.
        before = time.thread_time()
        await asyncio.sleep(0.005)
        pauses.append(time.thread_time() - before)
    await reading
    assert len(pauses) > 20
    assert max(pauses) < 0.5  # reading takes more than a second


async def test_of_many_uploads_at_once_some_wait_and_the_surplus_is_refused() -> None:
    reader = ReferenceReader(max_parallel=2)
    upload = as_file(speech(5.0), RATE, "ogg")
    answers = await asyncio.gather(
        *(reader.read(upload, transcript_given=False) for _ in range(12)), return_exceptions=True
    )
    refusals = [answer for answer in answers if isinstance(answer, Refusal)]
    assert [refusal.reason for refusal in refusals] == [Reason.TOO_MANY_UPLOADS] * 2
    clips = [answer.samples for answer in answers if not isinstance(answer, BaseException)]
    assert len(clips) == 10
    for clip in clips[1:]:
        np.testing.assert_array_equal(clip, clips[0])


async def test_a_slow_silent_recording_is_not_given_the_deadline_twice(
    reader: ReferenceReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Silence is looked at again, in other tracks and in each channel, but only for so long."""
    allowed: list[int] = []

    async def slow_silence(*_upload: object, within_seconds: int, **_how: object) -> object:
        allowed.append(within_seconds)
        await asyncio.sleep(1.1)
        return Sound(silence(5.0), tracks=(2, 2))

    monkeypatch.setattr(reference, "decode", slow_silence)
    monkeypatch.setattr(reference, "DECODE_WITHIN_SECONDS", 3)
    with refused(Reason.RECORDING_SILENT):
        await reader.read(sound(silence(5.0)), transcript_given=False)
    assert allowed == [3, 2, 1]


async def test_opposite_channels_do_not_cancel_each_other_out(reader: ReferenceReader) -> None:
    left = speech(6.0)
    file = as_file(np.stack([left, -left], axis=1), RATE, "wav")
    audio = await reader.read(file, transcript_given=False)
    assert 5.0 < audio.seconds < 6.5
