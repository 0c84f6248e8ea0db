"""The sentences about limits, and the lengths of speech in them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bot.errors import Reason, Remark

if TYPE_CHECKING:
    from collections.abc import Callable

MINUTE = 60

_SHORTEN = "Please shorten it, or try again <t:{again}:R>."

REFUSALS: dict[Reason, str] = {
    Reason.TOO_MANY_COMMANDS: (
        "You already have {count} running. Wait for one, or press Stop on it."
    ),
    Reason.TOO_MANY_REQUESTS: (
        "I can say or make {limit} things a minute for each person. You can go on <t:{again}:R>."
    ),
    Reason.SERVER_BUSY: (
        "I'm doing as much as I can at once in this server ({count}). Please try again in a moment."
    ),
    Reason.TOO_MANY_CHANNELS: (
        "I'm in as many voice channels as I can be at once ({count}). "
        "Please try again when I've left one, or use `/say` with `where: file`."
    ),
    Reason.OWN_SPEECH_USED_UP: (
        "You've used all your speech for today. You get more <t:{again}:R>."
    ),
    Reason.OWN_SPEECH_TOO_LITTLE: (
        "That takes about {wanted} of speech, and you have {left} left today. " + _SHORTEN
    ),
    Reason.SERVER_SPEECH_USED_UP: (
        "This server has used all its speech for today. It gets more <t:{again}:R>."
    ),
    Reason.SERVER_SPEECH_TOO_LITTLE: (
        "That takes about {wanted} of speech, and this server has {left} left today. " + _SHORTEN
    ),
    Reason.ALL_SPEECH_USED_UP: (
        "I've said all I can for today, to everybody together. Please try again <t:{again}:R>."
    ),
    Reason.ALL_SPEECH_TOO_LITTLE: (
        "That takes about {wanted} of speech, and I have {left} left for everybody today. "
        + _SHORTEN
    ),
    Reason.LONGER_THAN_A_DAY: (
        "That takes about {wanted} of speech, more than the {most} that I can make here in a day. "
        "Please shorten it."
    ),
}

REMARKS: dict[Remark, str] = {
    Remark.LITTLE_SPEECH_LEFT: (
        "You have about {left} of speech left today. You get more <t:{again}:R>."
    ),
    Remark.NO_SPEECH_LEFT: "That was all your speech for today. You get more <t:{again}:R>.",
}


def recording_counts(seconds: float) -> str:
    """What is said where a recording of at most so many seconds counts as speech."""
    most = whole_seconds(seconds, rounded=math.ceil)
    return f"The recording counts as up to {most} of that."


def whole_seconds(seconds: float, *, rounded: Callable[[float], int] = math.floor) -> str:
    """The length of speech, in minutes and seconds."""
    whole = rounded(seconds)
    if whole < MINUTE:
        return counted(whole, "second")
    minutes, rest = divmod(whole, MINUTE)
    in_minutes = counted(minutes, "minute")
    return f"{in_minutes} {counted(rest, 'second')}" if rest else in_minutes


def counted(count: int, what: str) -> str:
    """So many of something."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
