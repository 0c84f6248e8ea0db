"""One item that is interrupted while it is heard, and what must be so afterwards."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from tests.support.marked_speech import passages, repeated_seconds, unheard_seconds
from tests.support.voice_guild import SPOKEN, eventually, last_word

if TYPE_CHECKING:
    from tests.support.discord_server import Answer
    from tests.support.voice_guild import Speaker, VoiceGuild

LOST_SECONDS = 0.15
"""What may be lost of an item that goes on after a drop: the bot looks ten times a second."""

REPEATED_SECONDS = 1.0
"""What may be said twice, as nobody knows to the frame what was still heard."""


async def says_and_is_interrupted(
    guild: VoiceGuild, ada: Speaker, seconds: float, *, after: float = 1.0
) -> Answer:
    """Ada has item 1 said, and a part of it is heard."""
    answer = await ada.says(1, seconds)
    await guild.call.begins()
    await asyncio.sleep(after)
    return answer


async def is_heard(
    guild: VoiceGuild, answer: Answer, seconds: float, *, repeated: float = REPEATED_SECONDS
) -> None:
    """All of item 1 is heard, little of it twice, and Ada reads that it was."""
    told = await last_word(answer)
    heard = await guild.call.heard(seconds=0.2)
    assert unheard_seconds(heard, 1, seconds) <= LOST_SECONDS, told
    assert repeated_seconds(heard, 1) <= repeated
    assert told is not None
    assert SPOKEN in told


async def all_is_well_again(guild: VoiceGuild, ada: Speaker) -> None:
    """The bot does not stay "speaking", and says the next thing that it is asked to."""
    await eventually(lambda: not guild.call.is_speaking)
    now = time.time()
    await ada.says(2, 1.0)
    heard = await guild.call.heard_until_quiet(since=now)
    assert [row.item for row in passages(heard)] == [2]
    assert unheard_seconds(heard, 2, 1.0) <= LOST_SECONDS
