"""Who may do what in voice channels: the bot, and the people."""

from __future__ import annotations

import discord

from bot.errors import Refusal

VocalChannel = discord.VoiceChannel | discord.StageChannel


def check_can_speak_in(channel: VocalChannel) -> None:
    """Raise `Refusal` if the bot may not join a channel or may not be heard there."""
    allowed = channel.permissions_for(channel.guild.me)
    if not (allowed.view_channel and allowed.connect):
        raise Refusal(
            f"I may not join {channel.mention}. "
            "Ask an admin to give me the permissions View Channel and Connect there."
        )
    if isinstance(channel, discord.StageChannel):
        if not (allowed.request_to_speak or allowed.mute_members):
            raise Refusal(
                f"I may not speak on the stage {channel.mention}. "
                "Ask an admin to give me the permission Request to Speak there."
            )
    elif not allowed.speak:
        raise Refusal(
            f"I may not speak in {channel.mention}. "
            "Ask an admin to give me the permission Speak there."
        )
    is_here = channel.guild.me.id in channel.voice_states
    is_full = 0 < channel.user_limit <= len(channel.voice_states)
    if is_full and not is_here and not allowed.move_members:
        raise Refusal(f"{channel.mention} is full. Try again when somebody has left.")


def may_silence(member: discord.Member, channel: VocalChannel) -> bool:
    """Whether a member may end what others have the bot say.

    That is Mute Members: who may silence a member may silence what that member has the bot say.
    """
    return channel.permissions_for(member).mute_members


def may_move(member: discord.Member, channel: VocalChannel) -> bool:
    """Whether a member may take the bot away from the people in a channel: Move Members."""
    return channel.permissions_for(member).move_members


def people_in(channel: VocalChannel) -> list[int]:
    """The ids of everybody in a channel who is not a bot, as far as that is known."""
    return [member for member in channel.voice_states if not _is_bot(channel.guild, member)]


def listeners_in(channel: VocalChannel) -> list[int]:
    """The ids of the people in a channel who can hear what is said."""
    states = channel.voice_states
    return [
        person
        for person in people_in(channel)
        if not (states[person].deaf or states[person].self_deaf)
    ]


def _is_bot(guild: discord.Guild, member_id: int) -> bool:
    member = guild.get_member(member_id)
    return member_id == guild.me.id or (member is not None and member.bot)
