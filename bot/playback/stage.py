"""Stage channels: who joins is in the audience, and must become a speaker to be heard."""

from __future__ import annotations

import aiohttp
import discord
import structlog

log = structlog.get_logger(__name__)

FAILURES = (discord.DiscordException, aiohttp.ClientError, OSError)
"""What asking Discord for something about voice may raise; a `TimeoutError` is an `OSError`."""


async def step_up(channel: discord.VoiceChannel | discord.StageChannel) -> str | None:
    """Become a speaker if the bot is none: by itself where it may, else by asking for it.

    Returns a sentence for people if a moderator has to do something first.
    """
    if not isinstance(channel, discord.StageChannel):
        return None
    me = channel.guild.me
    if me.voice is not None and not me.voice.suppress:
        return None
    if channel.permissions_for(me).mute_members:  # what a stage's moderators have
        try:
            await me.edit(suppress=False)
        except FAILURES as error:
            log.warning("not let onto the stage", guild=channel.guild.id, reason=repr(error))
        else:
            return None
    try:
        await me.request_to_speak()
    except FAILURES as error:
        log.warning("no request to speak", guild=channel.guild.id, reason=repr(error))
        return f"A moderator has to invite me to speak on the stage {channel.mention}."
    return f"I asked to speak on the stage {channel.mention}; a moderator has to let me."
