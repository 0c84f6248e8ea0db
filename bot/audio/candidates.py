"""Which of a file's tracks and channels serves best as a reference."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from backend.contract import REFERENCE_SAMPLE_RATE
from bot.audio import trimming
from bot.audio.cleaning import condition
from bot.audio.flaws import contrast
from bot.audio.speech_activity import WINDOW_SECONDS
from bot.errors import Reason, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from bot.audio.speech_activity import SpeechDetector
    from bot.audio.trimming import Span

LISTEN_MINUTES = 3
"""How much of a long recording is analysed."""

LISTEN_SECONDS = LISTEN_MINUTES * 60

_MAX_TRACKS = 6
_MAX_CHANNELS = 32
"""Audio interfaces have no more. A file that claims to have more is not looked at any further."""

_CHANNELS_TRIED = 16

_ENOUGH_SECONDS = 20.0
"""More speech than this makes a recording no better."""

_ENOUGH_CONTRAST = 30.0
"""In decibels. Pauses that are quieter than this below the speech make a recording no better."""

_GOOD_CONTRAST = 15.0
"""In decibels. Where speech is so much above the pauses, no other track or channel is tried."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """The sound of a track or a channel, analysed.

    Attributes:
        samples: `(n,)`, mono at `REFERENCE_SAMPLE_RATE`, the first `LISTEN_MINUTES`.
        speech: What `SpeechDetector.find_speech` found in them.
        span: From the first speech to the last.
        goes_on: Whether the recording is longer.
        merit: The higher, the better.
        problem: Why it cannot be used, or None.
    """

    samples: NDArray[np.float32] = field(repr=False)
    speech: NDArray[np.bool_] = field(repr=False)
    span: Span
    goes_on: bool
    merit: float
    problem: Refusal | None = None

    @property
    def is_good(self) -> bool:
        """Whether there is no need to look for something better."""
        return self.problem is None and contrast(self.samples, self.speech) >= _GOOD_CONTRAST


def analyse(decoded: NDArray[np.float32], detector: SpeechDetector) -> Candidate:
    """Clean a sound, and find out where somebody speaks in it.

    Args:
        decoded: `(n,)`, mono at `REFERENCE_SAMPLE_RATE`.
        detector: Finds the speech.
    """
    samples = decoded[: LISTEN_SECONDS * REFERENCE_SAMPLE_RATE]
    goes_on = len(decoded) > len(samples)
    speech = np.zeros(0, np.bool_)
    span = (0, 0)
    merit = -1.0
    problem: Refusal | None = None
    try:
        samples = condition(samples)
        merit = 0.0
        speech = detector.find_speech(samples)
        span = trimming.speech_span(speech)
        merit = min(float(speech.sum()) * WINDOW_SECONDS, _ENOUGH_SECONDS)
        trimming.check_length(speech, span, seconds=len(samples) / REFERENCE_SAMPLE_RATE)
        merit += _ENOUGH_SECONDS + min(contrast(samples, speech), _ENOUGH_CONTRAST)
    except Refusal as refusal:
        problem = _of_long_recording(refusal) if goes_on else refusal
    return Candidate(samples, speech, span, goes_on, merit, problem)


def other_ways(tracks: Sequence[int]) -> Iterator[tuple[int, int | None]]:
    """What to decode besides the mix of the first track: a track, and a channel or None for all.

    Args:
        tracks: For each track, how many channels it has.
    """
    for track in range(1, min(len(tracks), _MAX_TRACKS)):
        yield track, None
    for track, channels in enumerate(tracks[:_MAX_TRACKS]):
        if 1 < channels <= _MAX_CHANNELS:
            for channel in range(min(channels, _CHANNELS_TRIED)):
                yield track, channel


def _of_long_recording(refusal: Refusal) -> Refusal:
    """What is missing in the part of a recording that was looked at may come later."""
    reason = Reason.TOO_LITTLE_SPEECH_IN_LONG_RECORDING
    if refusal.reason is Reason.RECORDING_DAMAGED:
        return refusal
    long = Refusal(reason, minutes=LISTEN_MINUTES)
    long.__cause__ = refusal
    return long
