"""An item that is interrupted while it is played, and what must be true afterwards."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from tests.support.marked_speech import account, passages
from tests.support.voice_guild import SPOKEN, eventually, last_word

if TYPE_CHECKING:
    from tests.support.discord_server import Answer
    from tests.support.marked_speech import Account
    from tests.support.voice_guild import Speaker, VoiceGuild

LOST_SECONDS = 0.15
"""How much of an item may be lost by a drop: the bot checks the link ten times a second."""

REPEATED_SECONDS = 1.0
"""How much may be repeated after a drop: it is not known to the frame what was still heard."""

UDP_REPEATED_SECONDS = 2.0
"""How much may be repeated when a server stops to answer pings, as it may have heard everything."""

NEXT_SECONDS = 0.8
"""The length of the item that follows."""


async def says_and_is_interrupted(
    guild: VoiceGuild, ada: Speaker, seconds: float, *, after: float = 1.0
) -> Answer:
    """Ada uses `/say` for item 1, and a part of it is heard."""
    answer = await ada.says(1, seconds)
    await guild.call.begins(within=20.0)
    await asyncio.sleep(after)
    return answer


async def end_of(
    guild: VoiceGuild, answer: Answer, item: int, seconds: float
) -> tuple[str, Account]:
    """Wait until the bot is done with an item; return what was told, and what was heard of it."""
    told = await last_word(answer)
    assert told is not None, f"nobody is told anything about item {item}"
    return told, account(await guild.call.heard(seconds=0.2), item, seconds)


async def is_heard(
    guild: VoiceGuild,
    answer: Answer,
    seconds: float,
    *,
    item: int = 1,
    repeated: float = REPEATED_SECONDS,
) -> None:
    """All of an item is heard, little of it twice, and its owner is told that it was spoken."""
    told, heard = await end_of(guild, answer, item, seconds)
    assert heard.missing <= LOST_SECONDS, f"{heard.missing:.2f} s are missing; told: {told}"
    assert heard.repeated <= repeated, f"{heard.repeated:.2f} s are heard twice"
    assert SPOKEN in told, told


async def is_heard_or_explained(
    guild: VoiceGuild, answer: Answer, seconds: float, *, item: int = 1, repeated: float
) -> None:
    """What is told of an item is true, and little of it is heard twice."""
    told, heard = await end_of(guild, answer, item, seconds)
    assert heard.repeated <= repeated, f"{heard.repeated:.2f} s are heard twice"
    assert heard.missing <= LOST_SECONDS or SPOKEN not in told, (
        f"{heard.missing:.2f} s are missing; told: {told}"
    )


async def all_is_well_again(guild: VoiceGuild, ada: Speaker) -> None:
    """The bot no longer shows as speaking, and the next `/say` is heard: once, in one go."""
    await eventually(lambda: not guild.call.is_speaking, within=10.0)
    now = time.time()
    told = await last_word(await ada.says(2, NEXT_SECONDS))
    heard = await guild.call.heard(seconds=0.2, since=now)
    items = [row.item for row in passages(heard)]
    assert items == [2], f"heard: {items}; told: {told}"
    assert SPOKEN in (told or ""), told
    following = account(heard, 2, NEXT_SECONDS)
    assert following.missing <= LOST_SECONDS, (
        f"{following.missing:.2f} s of the next item are missing"
    )
    assert following.repeated <= LOST_SECONDS, (
        f"{following.repeated:.2f} s of the next item are heard twice"
    )
    assert len(following.connections) == 1, "it reconnects during the next item"
