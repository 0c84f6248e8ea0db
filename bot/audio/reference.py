"""Turns an upload into reference audio: a few clean seconds of one person's speech."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from backend.contract import MAX_REFERENCE_SECONDS, REFERENCE_SAMPLE_RATE
from bot.audio import trimming
from bot.audio.candidates import LISTEN_MINUTES, LISTEN_SECONDS, Candidate, analyse, other_ways
from bot.audio.cleaning import best_stretch, bring_to_level
from bot.audio.decode import decode
from bot.audio.flaws import find_flaws
from bot.audio.speech_activity import WINDOW_SECONDS, SpeechDetector, in_windows
from bot.errors import Note, Reason, Refusal, Remark

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from numpy.typing import NDArray

MAX_UPLOAD_MEGABYTES = 25

DECODE_WITHIN_SECONDS = 6
"""The time limit for decoding. A recording of an hour takes a second or two."""

_MAX_PENDING = 10


@dataclass(frozen=True, slots=True)
class ReferenceAudio:
    """A clip that can be used to clone a voice.

    Attributes:
        samples: `(n,)`, mono at `REFERENCE_SAMPLE_RATE`, within -1 and 1.
        speech_seconds: How much of the clip is speech.
        notes: What was done to the recording, and what is wrong with it.
    """

    samples: NDArray[np.float32] = field(repr=False)
    speech_seconds: float
    notes: tuple[Note, ...] = ()

    @property
    def seconds(self) -> float:
        """Length of the clip."""
        return len(self.samples) / REFERENCE_SAMPLE_RATE


def check_upload(size: int) -> None:
    """Raise `Refusal` if a file has no bytes or too many. Call it before the download."""
    if size == 0:
        raise Refusal(Reason.UPLOAD_EMPTY)
    if size > MAX_UPLOAD_MEGABYTES * 1024 * 1024:
        raise Refusal(Reason.UPLOAD_TOO_LARGE, megabytes=MAX_UPLOAD_MEGABYTES)


class ReferenceReader:
    """Turns uploads into reference audio.

    A few uploads are processed at once, some more wait, and further ones are refused.
    """

    def __init__(self, max_parallel: int = 2) -> None:
        self._slots = asyncio.Semaphore(max_parallel)
        self._pending = 0
        self._detector = SpeechDetector()

    async def read(self, data: bytes, *, transcript_given: bool) -> ReferenceAudio:
        """Decode an upload, cut out the speech, and scale it to the level that all clips have.

        Silence around the speech is removed, and long pauses in it are shortened. If the rest is
        longer than `MAX_REFERENCE_SECONDS`, its best stretch is used. With a transcript, pauses
        stay as they are, and a recording that is too long is refused: the transcript would not
        match a stretch of it.

        Args:
            data: The file's bytes. Its name and declared type are not used.
            transcript_given: Whether the person gave a transcript of the recording.

        Raises `Refusal` if no clip can be made from the upload.
        """
        check_upload(len(data))
        async with self._slot():
            best = await self._best(data)
            if best.problem is not None:
                raise best.problem
            return await asyncio.to_thread(_select, best, transcript_given=transcript_given)

    async def read_sound(self, data: bytes) -> NDArray[np.float32]:
        """Decode the first sound track of an upload, and change nothing in it.

        Returns:
            Mono `(n,)` at `REFERENCE_SAMPLE_RATE`: the first `LISTEN_SECONDS`, and one second more
            if it is longer. A float file can hold any value, also NaN.

        Raises `Refusal` if no sound can be read from the file.
        """
        async with self._slot(), aclosing(_sounds(data)) as sounds:
            return await anext(sounds)

    async def has_speech(self, samples: NDArray[np.float32]) -> bool:
        """Whether somebody speaks in a sound; mono `(n,)` at `REFERENCE_SAMPLE_RATE`, finite."""
        speech = await asyncio.to_thread(self._detector.find_speech, samples)
        return bool(speech.any())

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        if self._pending >= _MAX_PENDING:
            raise Refusal(Reason.TOO_MANY_UPLOADS)
        self._pending += 1
        try:
            async with self._slots:
                yield
        finally:
            self._pending -= 1

    async def _best(self, data: bytes) -> Candidate:
        """Find the sound in a file that serves best as a reference.

        Files with several tracks have a game or a desktop in the first one and a microphone in
        another. Channels that are mixed may cancel each other out, or one of them may only hum.
        The other tracks and channels are looked at if the first track, mixed, isn't good.
        """
        best: Candidate | None = None
        async with aclosing(_sounds(data)) as sounds:
            async for samples in sounds:
                candidate = await asyncio.to_thread(analyse, samples, self._detector)
                if best is None or candidate.merit > best.merit:
                    best = candidate
                if best.is_good:
                    break
        assert best is not None  # noqa: S101 - `_sounds` yields one at least, or raises
        return best


def _select(chosen: Candidate, *, transcript_given: bool) -> ReferenceAudio:
    """Cut the clip out of a recording, and bring it to the level that all clips have."""
    kept = np.ones(len(chosen.speech), np.bool_)
    if not transcript_given:
        kept = trimming.without_long_pauses(chosen.speech)
    samples, speech = trimming.only(chosen.samples, kept), chosen.speech[kept]
    span = trimming.speech_span(speech)
    seconds = len(chosen.samples) / REFERENCE_SAMPLE_RATE
    shortened = chosen.goes_on or trimming.is_too_long(span)
    if shortened:
        if transcript_given:
            raise _too_long_for_transcript(seconds, goes_on=chosen.goes_on)
        span = best_stretch(samples, speech)
    start, end = span
    clip = trimming.cut_out(samples, speech, span)
    spoken_windows = in_windows(samples)[start:end][speech[start:end]]
    used = len(clip) / REFERENCE_SAMPLE_RATE
    notes = (_shortened(seconds, used, goes_on=chosen.goes_on),) if shortened else ()
    positions = np.flatnonzero(kept)
    used_span = int(positions[start]), int(positions[end - 1]) + 1
    return ReferenceAudio(
        samples=bring_to_level(clip, spoken_windows),
        speech_seconds=len(spoken_windows) * WINDOW_SECONDS,
        notes=notes + find_flaws(chosen.samples, chosen.speech, used_span),
    )


async def _sounds(data: bytes) -> AsyncGenerator[NDArray[np.float32], None]:
    """Decode the sound of a file in every way that it can be understood, the likeliest first.

    That is each track with its channels mixed, then each channel alone. All attempts share one
    deadline. When it has passed after the first sound, no more are tried.

    Yields one sound at least. Raises `Refusal` if none can be decoded.
    """
    started = perf_counter()
    ways: list[tuple[int, int | None]] = [(0, None)]
    refusal: Refusal | None = None
    found = False
    for number, (track, channel) in enumerate(ways):
        left = DECODE_WITHIN_SECONDS - round(perf_counter() - started)
        if left < 1:
            break
        try:
            sound = await decode(
                data,
                sample_rate=REFERENCE_SAMPLE_RATE,
                max_seconds=LISTEN_SECONDS + 1,  # one more, to detect longer recordings
                within_seconds=left,
                track=track,
                channel=channel,
            )
        except Refusal as error:
            refusal = refusal or error
            tracks = getattr(error, "tracks", ())
        else:
            found, tracks = True, sound.tracks
            yield sound.samples
        if number == 0:  # appended while the loop goes on
            ways += other_ways(tracks)
    if not found:
        raise refusal or Refusal(Reason.RECORDING_TOO_SLOW)


def _too_long_for_transcript(seconds: float, *, goes_on: bool) -> Refusal:
    maximum = MAX_REFERENCE_SECONDS
    if goes_on:
        reason = Reason.MUCH_TOO_LONG_FOR_TRANSCRIPT
        return Refusal(reason, minutes=LISTEN_MINUTES, maximum=maximum)
    shown = round(seconds, 1 if seconds < maximum + 1 else None)  # not "30 s, send at most 30 s"
    return Refusal(Reason.TOO_LONG_FOR_TRANSCRIPT, seconds=shown, maximum=maximum)


def _shortened(seconds: float, used: float, *, goes_on: bool) -> Note:
    if goes_on:
        return Note(Remark.LONG_RECORDING_SHORTENED, {"minutes": LISTEN_MINUTES, "used": used})
    return Note(Remark.RECORDING_SHORTENED, {"seconds": seconds, "used": used})
