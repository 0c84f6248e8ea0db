"""Which sentence explains that speech was not heard, after what has happened to the bot."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

from tests.support.voice_server.modes import Pings

if TYPE_CHECKING:
    from collections.abc import Collection

    from tests.support.voice_server.modes import Mode


class Cause(Enum):
    """Why speech may not be heard."""

    KICK = auto()
    """A moderator has disconnected the bot, or Discord has ended the call."""
    DRAG = auto()
    """A moderator has moved the bot to another channel."""
    ELSEWHERE = auto()
    """The bot is in another channel, or is about to go back there after a lost connection."""
    SENT_AWAY = auto()
    """Somebody has used `/leave`."""
    RATE_LIMIT = auto()
    """Discord has asked the bot to stay out."""
    LOSS = auto()
    """The voice server could not be reached, or let the bot in no more."""
    SILENCE = auto()
    """The voice server has not answered for a while."""
    NEW_SESSION = auto()
    """The main gateway's session has ended, and the bot has identified anew."""


_FITTING = {
    "I was disconnected from the voice channel": Cause.KICK,
    "I was moved to another voice channel": Cause.DRAG,
    "I'm with people in": Cause.ELSEWHERE,
    "sent me away with": Cause.SENT_AWAY,
    "Discord asked me to stay out": Cause.RATE_LIMIT,
    "I lost the connection to the voice channel": Cause.LOSS,
    "I couldn't connect to the voice channel": Cause.LOSS,
    "Discord's voice server didn't answer for a while": Cause.SILENCE,
    "I'm reconnecting to Discord": Cause.NEW_SESSION,
}
"""A part of each sentence, and what must have happened for it to be true."""


def explains(told: str, causes: Collection[Cause]) -> bool:
    """Whether a sentence says why speech was not heard, and that is what has happened."""
    return any(words in told and cause in causes for words, cause in _FITTING.items())


def causes_of(mode: Mode) -> frozenset[Cause]:
    """What happens in a mode of the voice server without any fault."""
    falls_silent = mode.pings is not Pings.IGNORED and not mode.answers_regularly
    return frozenset({Cause.SILENCE}) if falls_silent else frozenset()
