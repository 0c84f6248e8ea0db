"""Stage channels: who joins is in the audience, and must become a speaker to be heard."""

from __future__ import annotations

import discord
import structlog

log = structlog.get_logger(__name__)


async def step_up(channel: discord.VoiceChannel | discord.StageChannel) -> str | None:
    """Become a speaker where the bot may, else ask for it.

    Returns a sentence for people if a moderator has to do something first.
    """
    if not isinstance(channel, discord.StageChannel):
        return None
    me = channel.guild.me
    if channel.permissions_for(me).mute_members:  # what a stage's moderators have
        try:
            await me.edit(suppress=False)
        except discord.HTTPException as error:
            log.warning("not let onto the stage", guild=channel.guild.id, reason=repr(error))
        else:
            return None
    try:
        await me.request_to_speak()
    except (discord.HTTPException, discord.ClientException) as error:
        log.warning("no request to speak", guild=channel.guild.id, reason=repr(error))
        return f"A moderator has to invite me to speak on the stage {channel.mention}."
    return f"I asked to speak on the stage {channel.mention}; a moderator has to let me."
