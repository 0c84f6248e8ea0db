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

_SHORTEST_SECONDS = MIN_REFERENCE_SECONDS - 0.1
"""A lossy codec or a recorder may take a little off the length of a recording."""

_SILENCE_SECONDS = 0.9
"""How much silence before and after the speech counts towards a recording's length. A recording
of 3 s often begins or ends in a pause."""

_EXCESS_SECONDS = 0.25
"""How much is taken off the end of a recording that is too long, rather than refusing it."""

_MARGIN = round(0.15 * REFERENCE_SAMPLE_RATE)
_LONG_PAUSE = round(1.0 / WINDOW_SECONDS)
_SHORT_PAUSE = round(0.6 / WINDOW_SECONDS)
"""In windows. Pauses over the first length are shortened to about the second."""

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
    shown = _rounded_down(min(seconds, length))
    if not shown:
        raise Refusal(Reason.NO_SPEECH)
    if _is_short(span) or seconds < _SHORTEST_SECONDS:
        raise Refusal(Reason.TOO_LITTLE_SPEECH, seconds=shown, minimum=MIN_REFERENCE_SECONDS)
    spoken = _seconds_of(speech[start:end])
    if spoken < MIN_SPEECH_SECONDS:
        raise Refusal(
            Reason.MOSTLY_PAUSES, seconds=_rounded_down(spoken), minimum=MIN_REFERENCE_SECONDS
        )


def is_too_short(spoken: float, span: Span) -> bool:
    """Whether a stretch of a long recording holds less speech than a recording must.

    Args:
        spoken: Seconds of detected speech in the stretch.
        span: The stretch.
    """
    return spoken < MIN_SPEECH_SECONDS or _is_short(span)


def is_too_long(span: Span) -> bool:
    """Whether speech is too long for a clip."""
    start, end = span
    return (end - start) * WINDOW_SECONDS > MAX_REFERENCE_SECONDS + _EXCESS_SECONDS


def without_long_pauses(speech: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which windows of a recording stay if the middle of each long pause is left out.

    Args:
        speech: What `SpeechDetector.find_speech` found; some of it is True.
    """
    start, end = speech_span(speech)
    kept = np.ones(len(speech), np.bool_)
    for begin, stop in (runs(~speech[start:end]) + start).tolist():
        if stop - begin > _LONG_PAUSE:
            kept[begin + _SHORT_PAUSE // 2 : stop - _SHORT_PAUSE // 2] = False
    return kept


def only(samples: NDArray[np.float32], kept: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The windows of a recording that stay. Each gap is closed by a crossfade.

    Args:
        samples: `(n,)`.
        kept: What `without_long_pauses` returned.
    """
    ramp = np.linspace(0, 1, _CROSSFADE, dtype=np.float32)
    pieces = []
    begin = 0
    for start, end in (runs(~kept) * WINDOW).tolist():
        piece = samples[begin:start].copy()
        # What comes before the end of the gap fades in, so that the rest stays where windows begin.
        incoming = samples[end - _CROSSFADE : end]
        piece[-_CROSSFADE:] = piece[-_CROSSFADE:] * ramp[::-1] + incoming * ramp
        pieces.append(piece)
        begin = end
    return np.concatenate([*pieces, samples[begin:]])


def cut_out(
    samples: NDArray[np.float32], speech: NDArray[np.bool_], span: Span
) -> NDArray[np.float32]:
    """Cut some speech out of a recording, with a part of the silence on either side.

    The clip is never shorter than `MIN_REFERENCE_SECONDS`: it gets more of the silence, and zeros
    where the recording has no more. It is never longer than `MAX_REFERENCE_SECONDS`.

    Args:
        samples: `(n,)`, the whole recording.
        speech: What `SpeechDetector.find_speech` found in it.
        span: Which speech to cut out.

    Returns:
        `(n,)`, a copy.
    """
    start, end = span
    first, last = start * WINDOW, min(end * WINDOW, len(samples))
    before, after = _margins(speech, span, last - first, len(samples))
    clip = samples[first - before : last + after][:_LONGEST_CLIP].copy()
    ramp = np.linspace(0, 1, _FADE, dtype=np.float32)
    clip[:_FADE] *= ramp
    clip[-_FADE:] *= ramp[::-1]
    return np.pad(clip, (0, max(0, _SHORTEST_CLIP - len(clip))))


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


def _is_short(span: Span) -> bool:
    start, end = span
    return (end - start) * WINDOW_SECONDS + _SILENCE_SECONDS < _SHORTEST_SECONDS


def _seconds_of(speech: NDArray[np.bool_]) -> float:
    return float(speech.sum()) * WINDOW_SECONDS


def _rounded_down(seconds: float) -> float:
    """With one decimal. 2.98 s must not be shown as 3.0 s, which would be enough."""
    return math.floor(seconds * 10) / 10
