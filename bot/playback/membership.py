"""Whether the owner of speech is still a member of the server, as Discord says when it's asked.

Discord tells bots of a member who was timed out, thrown out or banned only with the privileged
members intent. But such a member is also taken out of voice, and that is told. So the bot asks
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

    Returns None if Discord gives no answer, which takes `ANSWER_WITHIN_SECONDS` at most. Nobody may
    be silenced for that, as it's no fault of theirs. Raises `Refusal` if they are no member.
    """
    try:
        async with asyncio.timeout(ANSWER_WITHIN_SECONDS):
            return await guild.fetch_member(member_id)
    except discord.NotFound as error:
        if error.code in {_UNKNOWN_MEMBER, _UNKNOWN_USER}:
            raise Refusal(Reason.MEMBER_GONE) from None
        log.warning("no word of a member", guild=guild.id, reason=repr(error))
    except VOICE_ERRORS as error:
        log.warning("no word of a member", guild=guild.id, reason=repr(error))
    return None
