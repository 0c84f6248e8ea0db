"""An item that is interrupted while it is played, and what must be true afterwards."""

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
"""How much of an item may be lost by a drop: the bot checks the link ten times a second."""

REPEATED_SECONDS = 1.0
"""How much may be repeated: it is not known to the frame what was still heard."""


async def says_and_is_interrupted(
    guild: VoiceGuild, ada: Speaker, seconds: float, *, after: float = 1.0
) -> Answer:
    """Ada uses `/say` for item 1, and a part of it is heard."""
    answer = await ada.says(1, seconds)
    await guild.call.begins()
    await asyncio.sleep(after)
    return answer


async def is_heard(
    guild: VoiceGuild, answer: Answer, seconds: float, *, repeated: float = REPEATED_SECONDS
) -> None:
    """All of item 1 is heard, little of it twice, and Ada is told that it was spoken."""
    told = await last_word(answer)
    heard = await guild.call.heard(seconds=0.2)
    assert unheard_seconds(heard, 1, seconds) <= LOST_SECONDS, told
    assert repeated_seconds(heard, 1) <= repeated
    assert told is not None
    assert SPOKEN in told


async def all_is_well_again(guild: VoiceGuild, ada: Speaker) -> None:
    """The bot no longer shows as speaking, and the next `/say` is heard."""
    await eventually(lambda: not guild.call.is_speaking)
    now = time.time()
    await ada.says(2, 1.0)
    heard = await guild.call.heard_until_quiet(since=now)
    assert [row.item for row in passages(heard)] == [2]
    assert unheard_seconds(heard, 2, 1.0) <= LOST_SECONDS
