"""Whether the owner of speech is still a member of the server, as Discord says when it's asked.

Only with the privileged members intent does Discord tell a bot that a member was timed out, kicked
or banned. But it also takes such a member out of voice, and tells every bot that. So the bot asks
about the owners of speech who are in no voice channel.
"""

from __future__ import annotations

import asyncio

import discord
import structlog

from bot.errors import Reason, Refusal
from bot.playback.permissions import VOICE_ERRORS

log = structlog.get_logger(__name__)

ANSWER_WITHIN_SECONDS = 3.0

# https://discord.com/developers/docs/topics/opcodes-and-status-codes#json
_UNKNOWN_MEMBER = 10007
_UNKNOWN_USER = 10013


async def look_up(guild: discord.Guild, member_id: int) -> discord.Member | None:
    """Ask Discord for a member, with the roles and the timeout that they have now.

    Returns None if Discord gives no answer within `ANSWER_WITHIN_SECONDS`; nobody should be
    silenced for that. Raises `Refusal` if they are no longer a member.
    """
    try:
        async with asyncio.timeout(ANSWER_WITHIN_SECONDS):
            return await guild.fetch_member(member_id)
    except discord.NotFound as error:
        if error.code in {_UNKNOWN_MEMBER, _UNKNOWN_USER}:
            raise Refusal(Reason.MEMBER_GONE) from None
        log.warning("a member could not be looked up", guild=guild.id, reason=repr(error))
    except VOICE_ERRORS as error:
        log.warning("a member could not be looked up", guild=guild.id, reason=repr(error))
    return None
