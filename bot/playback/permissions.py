"""Permissions in voice and stage channels, of the bot and of members."""

from __future__ import annotations

import aiohttp
import discord
import structlog

from bot.errors import Note, Reason, Refusal, Remark

log = structlog.get_logger(__name__)

VocalChannel = discord.VoiceChannel | discord.StageChannel

VOICE_ERRORS = (discord.DiscordException, aiohttp.ClientError, OSError)
"""The errors that requests to Discord about voice raise; a `TimeoutError` is an `OSError`."""


def check_can_speak_in(channel: VocalChannel) -> None:
    """Raise `Refusal` if the bot may not join a channel or may not speak there."""
    allowed = channel.permissions_for(channel.guild.me)
    if not (allowed.view_channel and allowed.connect):
        raise Refusal(Reason.MAY_NOT_JOIN, channel=channel.mention)
    if isinstance(channel, discord.StageChannel):
        if not (allowed.request_to_speak or allowed.mute_members):
            raise Refusal(Reason.MAY_NOT_SPEAK_ON_STAGE, channel=channel.mention)
    elif not allowed.speak:
        raise Refusal(Reason.MAY_NOT_SPEAK, channel=channel.mention)
    is_here = channel.guild.me.id in channel.voice_states
    is_full = 0 < channel.user_limit <= len(channel.voice_states)
    if is_full and not is_here and not allowed.move_members:
        raise Refusal(Reason.CHANNEL_FULL, channel=channel.mention)


async def become_speaker(channel: VocalChannel) -> Note | None:
    """Move the bot from a stage's audience to its speakers, or ask a moderator to do so.

    Returns a note for members if a moderator has to act first. Does nothing in other channels.
    """
    if not isinstance(channel, discord.StageChannel):
        return None
    me = channel.guild.me
    if me.voice is not None and not me.voice.suppress:
        return None
    if channel.permissions_for(me).mute_members:  # the permission of a stage's moderators
        try:
            await me.edit(suppress=False)
        except VOICE_ERRORS as error:
            log.warning("not let onto the stage", guild=channel.guild.id, reason=repr(error))
        else:
            return None
    remark = Remark.ASKED_TO_SPEAK_ON_STAGE
    try:
        await me.request_to_speak()
    except VOICE_ERRORS as error:
        log.warning("no request to speak", guild=channel.guild.id, reason=repr(error))
        remark = Remark.STAGE_INVITATION_NEEDED
    return Note(remark, {"channel": channel.mention})


def may_silence(member: discord.Member, channel: VocalChannel) -> bool:
    """Whether a member may skip or stop the entries of other members.

    This needs the permission Mute Members, because stopping an entry is like muting its owner.
    """
    return channel.permissions_for(member).mute_members


def may_move(member: discord.Member, channel: VocalChannel) -> bool:
    """Whether a member may move the bot away from the people in a channel: Move Members."""
    return channel.permissions_for(member).move_members


def people_in(channel: VocalChannel) -> list[int]:
    """The ids of all members in a channel who are not known to be bots."""
    return [member for member in channel.voice_states if not _is_bot(channel.guild, member)]


def listeners_in(channel: VocalChannel) -> list[int]:
    """The ids of the people in a channel who are not deafened."""
    states = channel.voice_states
    return [
        person
        for person in people_in(channel)
        if not (states[person].deaf or states[person].self_deaf)
    ]


def _is_bot(guild: discord.Guild, member_id: int) -> bool:
    member = guild.get_member(member_id)
    return member_id == guild.me.id or (member is not None and member.bot)
