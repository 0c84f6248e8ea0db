"""How long a recording is without its silence, and the clip that is cut out of it.

What is counted is the length from the first word to the last, pauses included. Detected speech
alone would be too strict: nobody speaks without a pause, and a detector misses a word's ends.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from backend.contract import MAX_REFERENCE_SECONDS, MIN_REFERENCE_SECONDS, REFERENCE_SAMPLE_RATE
from bot.audio.speech_activity import WINDOW, WINDOW_SECONDS, runs
from bot.errors import Reason, Refusal

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Span = tuple[int, int]
    """The first window of some speech, and the one after its last."""

MIN_SPEECH_SECONDS = 1.5
"""The least detected speech in a recording. Of 3 s of fluent speech, 2 to 2.9 s are detected."""

_CODEC_SECONDS = 0.1
"""How much a lossy codec or a recorder may take off the length of a recording."""

_SILENCE_SECONDS = 0.9
"""How much silence before and after the speech counts towards a recording's length. A recording
of 3 s often begins or ends in a pause."""

_EXCESS_SECONDS = 0.25
"""How much is taken off the end of a recording that is too long, rather than refusing it."""

_MARGIN = round(0.15 * REFERENCE_SAMPLE_RATE)
_LONG_PAUSE = round(1.0 * REFERENCE_SAMPLE_RATE)
_SHORT_PAUSE = round(0.6 * REFERENCE_SAMPLE_RATE)
_FADE = round(0.005 * REFERENCE_SAMPLE_RATE)
_CROSSFADE = round(0.02 * REFERENCE_SAMPLE_RATE)
_SHORTEST_CLIP = round(MIN_REFERENCE_SECONDS * REFERENCE_SAMPLE_RATE)
_LONGEST_CLIP = round(MAX_REFERENCE_SECONDS * REFERENCE_SAMPLE_RATE)


def speech_span(speech: NDArray[np.bool_]) -> Span:
    """From the first speech to the last. Raises `Refusal` if there is none.

    Args:
        speech: What `SpeechDetector.find_speech` found.
    """
    spoken = np.flatnonzero(speech)
    if not len(spoken):
        raise Refusal(Reason.NO_SPEECH)
    return int(spoken[0]), int(spoken[-1]) + 1


def check_length(speech: NDArray[np.bool_], span: Span, *, seconds: float) -> None:
    """Raise `Refusal` if a recording is too short, or hardly anything is said in it.

    Args:
        speech: What `SpeechDetector.find_speech` found.
        span: From the first of it to the last.
        seconds: The length of the whole recording, silence included.
    """
    start, end = span
    length = (end - start) * WINDOW_SECONDS
    if min(seconds, length + _SILENCE_SECONDS) < MIN_REFERENCE_SECONDS - _CODEC_SECONDS:
        raise Refusal(
            Reason.TOO_LITTLE_SPEECH,
            seconds=_rounded_down(min(seconds, length)),
            minimum=MIN_REFERENCE_SECONDS,
        )
    spoken = _seconds_of(speech[start:end])
    if spoken < MIN_SPEECH_SECONDS:
        raise Refusal(
            Reason.MOSTLY_PAUSES, seconds=_rounded_down(spoken), minimum=MIN_REFERENCE_SECONDS
        )


def is_too_short(speech: NDArray[np.bool_], span: Span) -> bool:
    """Whether a stretch of a long recording holds less speech than a recording must."""
    try:
        check_length(speech, span, seconds=math.inf)
    except Refusal:
        return True
    return False


def is_too_long(span: Span) -> bool:
    """Whether speech is too long for a clip."""
    start, end = span
    return (end - start) * WINDOW_SECONDS > MAX_REFERENCE_SECONDS + _EXCESS_SECONDS


def cut_out(
    samples: NDArray[np.float32], speech: NDArray[np.bool_], span: Span, *, keep_pauses: bool
) -> NDArray[np.float32]:
    """Cut some speech out of a recording, with a part of the silence on either side.

    The clip is never shorter than `MIN_REFERENCE_SECONDS`: it gets more of the silence, and zeros
    where the recording has no more. It is never longer than `MAX_REFERENCE_SECONDS`.

    Args:
        samples: `(n,)`, the whole recording.
        speech: What `SpeechDetector.find_speech` found in it.
        span: Which speech to cut out.
        keep_pauses: Whether long pauses stay as long as they are.

    Returns:
        `(n,)`, a copy.
    """
    start, end = span
    first, last = start * WINDOW, min(end * WINDOW, len(samples))
    pauses = [] if keep_pauses else _surplus(speech, span)
    length = last - first - sum(end - start for start, end in pauses)
    before, after = _margins(speech, span, length, len(samples))
    clip = _without(samples[first - before : last + after], pauses, offset=first - before)
    clip = clip[:_LONGEST_CLIP]
    ramp = np.linspace(0, 1, _FADE, dtype=np.float32)
    clip[:_FADE] *= ramp
    clip[-_FADE:] *= ramp[::-1]
    return np.pad(clip, (0, max(0, _SHORTEST_CLIP - len(clip))))


def _surplus(speech: NDArray[np.bool_], span: Span) -> list[tuple[int, int]]:
    """What to take out of the middle of each long pause, as samples of the recording."""
    start, end = span
    pauses = (runs(~speech[start:end]) + start) * WINDOW
    kept = _SHORT_PAUSE // 2
    return [(a + kept, b - kept) for a, b in pauses.tolist() if b - a > _LONG_PAUSE]


def _margins(speech: NDArray[np.bool_], span: Span, length: int, samples: int) -> tuple[int, int]:
    """How many samples of the silence before and after some speech belong to its clip.

    Args:
        speech: What `SpeechDetector.find_speech` found in the recording.
        span: The speech.
        length: The clip's length without margins, in samples.
        samples: The recording's length.
    """
    start, end = span
    earlier, later = np.flatnonzero(speech[:start]), np.flatnonzero(speech[end:])
    free_before = (start - (int(earlier[-1]) + 1 if len(earlier) else 0)) * WINDOW
    free_after = int(later[0]) * WINDOW if len(later) else max(0, samples - end * WINDOW)
    missing = _SHORTEST_CLIP - length
    before = min(free_before, max(_MARGIN, missing // 2))
    after = min(free_after, max(_MARGIN, missing - before))
    before = min(free_before, max(before, missing - after))
    room = max(0, _LONGEST_CLIP - length)
    before = min(before, room // 2)
    return before, min(after, room - before)


def _without(
    samples: NDArray[np.float32], surplus: list[tuple[int, int]], *, offset: int
) -> NDArray[np.float32]:
    """A copy of samples without some stretches. Each gap is closed by a crossfade.

    Args:
        samples: `(n,)`, a part of a recording.
        surplus: What to leave out, as positions in the recording.
        offset: Where in the recording the part begins.
    """
    clip = samples.copy()
    ramp = np.linspace(0, 1, _CROSSFADE, dtype=np.float32)
    for start, end in reversed(surplus):
        head, tail = clip[: start - offset], clip[end - offset :]
        head[-_CROSSFADE:] = head[-_CROSSFADE:] * ramp[::-1] + tail[:_CROSSFADE] * ramp
        clip = np.concatenate([head, tail[_CROSSFADE:]])
    return clip


def _seconds_of(speech: NDArray[np.bool_]) -> float:
    return float(speech.sum()) * WINDOW_SECONDS


def _rounded_down(seconds: float) -> float:
    """With one decimal. 2.98 s must not be shown as 3.0 s, which would be enough."""
    return math.floor(seconds * 10) / 10
