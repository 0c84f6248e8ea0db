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


def why_silent(
    channel: VocalChannel, member_id: int, member: discord.Member | None = None
) -> Reason | None:
    """Why a member may not speak in a channel, so that the bot doesn't either on their behalf.

    Args:
        channel: The channel.
        member_id: The member's Discord id.
        member: The member, as they used a command or as `membership.look_up` has them. discord.py
            remembers only members who are in a voice channel, with the roles that they entered it
            with: Discord tells the bot of no later change. Of others it knows nothing that would
            keep them from speaking.

    Returns None if they may speak.
    """
    if is_afk(channel):
        return Reason.AFK_CHANNEL
    known = channel.guild.get_member(member_id)
    state = known.voice if known is not None else channel.voice_states.get(member_id)
    member = member or known
    if member is not None and member.is_timed_out() and not member.guild_permissions.administrator:
        return Reason.MEMBER_TIMED_OUT
    if state is not None and state.mute:
        return Reason.MEMBER_MUTED
    is_stage = isinstance(channel, discord.StageChannel)
    if state is not None and state.channel == channel and state.suppress:
        return Reason.MEMBER_IN_AUDIENCE if is_stage else Reason.MEMBER_MAY_NOT_SPEAK
    if member is None or is_stage:  # on a stage, whoever is let onto it may speak
        return None
    # Somebody whom a moderator has moved into a channel can speak there without Connect. discord.py
    # takes all voice permissions from them (2.7.1, `VocalGuildChannel.permissions_for`).
    may_speak = discord.abc.GuildChannel.permissions_for(channel, member).speak
    return None if may_speak else Reason.MEMBER_MAY_NOT_SPEAK


def may_see(member: discord.User | discord.Member, channel: VocalChannel) -> bool:
    """Whether a member may know of a channel: by permission, or because they are in it."""
    if not isinstance(member, discord.Member) or member.guild != channel.guild:
        return False
    return channel.permissions_for(member).view_channel or member.id in channel.voice_states


def check_can_speak_in(channel: VocalChannel) -> None:
    """Raise `Refusal` if the bot may not join a channel or may not speak there."""
    me: discord.Member | None = channel.guild.me
    if me is None:  # the main gateway has yet to send the guild; this is asked again then
        return
    if is_afk(channel):
        raise Refusal(Reason.AFK_CHANNEL)
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


def is_afk(channel: VocalChannel) -> bool:
    """Whether it is the channel for members who are away, in which nobody can speak."""
    return channel.guild.afk_channel == channel


def is_in_voice(guild: discord.Guild, member_id: int) -> bool:
    """Whether a member is in any voice channel of a guild."""
    channels = (*guild.voice_channels, *guild.stage_channels)
    return any(member_id in channel.voice_states for channel in channels)


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
