"""Who uses a command, where, and with which rights, as `bot.guilds` decides about them."""

from __future__ import annotations

from typing import Any

import discord

from bot.guilds.access import Actor


def actor_of(interaction: discord.Interaction[Any]) -> Actor:
    """Return who uses a command, and where."""
    person, channel = interaction.user, interaction.channel
    return Actor(
        user_id=person.id,
        guild_id=interaction.guild_id,
        channel_id=(
            channel.parent_id if isinstance(channel, discord.Thread) else interaction.channel_id
        ),
        role_ids=roles_of(person) if isinstance(person, discord.Member) else frozenset(),
        is_manager=interaction.guild_id is not None and interaction.permissions.manage_guild,
    )


def roles_of(member: discord.Member) -> frozenset[int] | None:
    """Return the ids of a member's roles, without the one that everyone has.

    None if they aren't known: discord.py leaves out those of a server that it doesn't have.
    """
    if member.guild.unavailable:
        return None
    return frozenset(role.id for role in member.roles if not role.is_default())
