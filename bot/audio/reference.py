"""Reference audio: from an upload to a few clean seconds of one person's speech."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from backend.contract import MAX_REFERENCE_SECONDS, MIN_REFERENCE_SECONDS, REFERENCE_SAMPLE_RATE
from bot.audio.best_stretch import best_stretch
from bot.audio.cleaning import bring_to_level, condition, find_flaws, is_too_quiet
from bot.audio.container import identify
from bot.audio.decode import decode
from bot.audio.speech_activity import WINDOW, WINDOW_SECONDS, SpeechDetector, in_windows
from bot.errors import Refusal

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bot.audio.container import Container

MAX_UPLOAD_MEGABYTES = 25

LISTEN_MINUTES = 3
"""How much of a long recording is looked at."""

DECODE_WITHIN_SECONDS = 6
"""An hour's recording needs a second or two; the rest of the work needs time as well."""

_LISTEN_SECONDS = LISTEN_MINUTES * 60
_MARGIN = round(0.15 * REFERENCE_SAMPLE_RATE)
_MAX_WINDOWS = int((MAX_REFERENCE_SECONDS * REFERENCE_SAMPLE_RATE - 2 * _MARGIN) / WINDOW)
_MAX_PENDING = 10


@dataclass(frozen=True, slots=True)
class ReferenceAudio:
    """A clip that a voice can be made from.

    Attributes:
        samples: `(n,)`, mono at `REFERENCE_SAMPLE_RATE`, within -1 and 1.
        speech_seconds: How much of the clip is speech.
        notes: Sentences for the person: what was done to the recording, what is wrong with it.
    """

    samples: NDArray[np.float32] = field(repr=False)
    speech_seconds: float
    notes: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Length of the clip."""
        return len(self.samples) / REFERENCE_SAMPLE_RATE


def check_upload(size: int) -> None:
    """Raise `Refusal` for a file of no bytes or too many, before anyone downloads it."""
    if size == 0:
        raise Refusal("That file is empty. Save the recording again, and send that.")
    if size > MAX_UPLOAD_MEGABYTES * 1024 * 1024:
        raise Refusal(
            f"That file is larger than {MAX_UPLOAD_MEGABYTES} MB, the most I can take. "
            "Ten seconds of speech are enough: send a shorter recording, or save it as mp3."
        )


class ReferenceReader:
    """Turns uploads into reference audio.

    A few uploads are worked on at once, a few more wait, and what comes on top is refused.
    """

    def __init__(self, max_parallel: int = 2) -> None:
        self._turns = asyncio.Semaphore(max_parallel)
        self._pending = 0
        self._detector = SpeechDetector()

    async def read(self, data: bytes, *, transcript_given: bool) -> ReferenceAudio:
        """Decode an upload, keep the speech, and bring it to the level that all clips have.

        Silence around the speech is cut off. Of a recording longer than `MAX_REFERENCE_SECONDS`
        the best stretch is used, unless there is a transcript, which would no longer match.

        Args:
            data: The file, whatever its name or type says it is.
            transcript_given: Whether the person wrote down what the recording says.

        Raises `Refusal` if the upload cannot serve.
        """
        check_upload(len(data))
        container = await asyncio.to_thread(identify, data)
        if self._pending >= _MAX_PENDING:
            raise Refusal("I am busy with other recordings. Please try again in a minute.")
        self._pending += 1
        try:
            async with self._turns:
                decoded = await _decode(data, container)
                return await asyncio.to_thread(
                    self._select, decoded, transcript_given=transcript_given
                )
        finally:
            self._pending -= 1

    def _select(self, decoded: NDArray[np.float32], *, transcript_given: bool) -> ReferenceAudio:
        heard = decoded[: _LISTEN_SECONDS * REFERENCE_SAMPLE_RATE]
        goes_on = len(decoded) > len(heard)
        try:
            samples = condition(heard)
            speech = self._detector.find_speech(samples)
            _check_speech(speech)
        except Refusal as refusal:
            if not goes_on:
                raise
            raise Refusal(
                f"I listen to the first {LISTEN_MINUTES} minutes and hear too little speech there. "
                "Cut out the part with the speech, and send that."
            ) from refusal
        spoken = np.flatnonzero(speech)
        start, end = int(spoken[0]), int(spoken[-1]) + 1
        notes: tuple[str, ...] = ()
        if goes_on or end - start > _MAX_WINDOWS:
            if transcript_given:
                raise Refusal(_too_long_for_a_transcript(samples, goes_on=goes_on))
            start, end = best_stretch(samples, speech)
            _check_not_scattered(speech[start:end])
            notes = (_shortened(samples, (end - start) * WINDOW_SECONDS, goes_on=goes_on),)
        clip = samples[_with_margins(start, end, speech)]
        spoken_windows = in_windows(samples)[start:end][speech[start:end]]
        return ReferenceAudio(
            samples=bring_to_level(clip, spoken_windows),
            speech_seconds=len(spoken_windows) * WINDOW_SECONDS,
            notes=notes + find_flaws(samples, speech),
        )


async def _decode(data: bytes, container: Container) -> NDArray[np.float32]:
    """Decode all channels mixed; if they cancel each other out, the first one alone.

    They do where a balanced microphone was put on a stereo input. Both tries share one deadline.
    """
    read = partial(
        decode,
        data,
        container,
        sample_rate=REFERENCE_SAMPLE_RATE,
        max_seconds=_LISTEN_SECONDS + 1,  # the last one shows that there is more
    )
    started = perf_counter()
    mixed = await read(within_seconds=DECODE_WITHIN_SECONDS)
    left = DECODE_WITHIN_SECONDS - round(perf_counter() - started)
    if left < 1 or not is_too_quiet(mixed):
        return mixed
    return await read(within_seconds=left, channel=0)


def _check_speech(speech: NDArray[np.bool_]) -> None:
    seconds = float(speech.sum()) * WINDOW_SECONDS
    if seconds == 0:
        raise Refusal(
            "This file has no speech I can hear. "
            "Record one person talking, without music, and send that."
        )
    if seconds < MIN_REFERENCE_SECONDS:
        # Rounded down: 2.98 s must not read as the 3.0 s it falls short of.
        tenths = math.floor(seconds * 10) / 10
        raise Refusal(
            f"I need at least {MIN_REFERENCE_SECONDS:.0f} s of speech; this has {tenths} s. "
            "Record a little more, and try again."
        )


def _check_not_scattered(speech: NDArray[np.bool_]) -> None:
    if float(speech.sum()) * WINDOW_SECONDS < MIN_REFERENCE_SECONDS:
        raise Refusal(
            "The speech in that recording is too scattered: I need at least "
            f"{MIN_REFERENCE_SECONDS:.0f} s of it within 20 s. Record again, with shorter pauses."
        )


def _too_long_for_a_transcript(samples: NDArray[np.float32], *, goes_on: bool) -> str:
    return (
        f"Your recording is {_length(samples, goes_on=goes_on)} long. If I shortened it, it would "
        "no longer match your transcript: "
        f"send at most {MAX_REFERENCE_SECONDS:.0f} s, or leave the transcript out."
    )


def _shortened(samples: NDArray[np.float32], used_seconds: float, *, goes_on: bool) -> str:
    among = f" of the first {LISTEN_MINUTES} minutes" if goes_on else ""
    return (
        f"Your recording is {_length(samples, goes_on=goes_on)} long, "
        f"so I used its clearest {used_seconds:.0f} s{among}."
    )


def _length(samples: NDArray[np.float32], *, goes_on: bool) -> str:
    if goes_on:
        return f"more than {LISTEN_MINUTES} minutes"
    return f"{len(samples) / REFERENCE_SAMPLE_RATE:.0f} s"


def _with_margins(start: int, end: int, speech: NDArray[np.bool_]) -> slice:
    """The samples from window `start` to `end`, with some of the pause on either side."""
    before = _MARGIN if start > 0 and not speech[start - 1] else 0
    after = _MARGIN if end < len(speech) and not speech[end] else 0
    return slice(max(0, start * WINDOW - before), end * WINDOW + after)
