"""Who uses a command, where, and with which rights, as `bot.guilds` decides about them."""

from __future__ import annotations

from typing import Any

import discord

from bot.guilds.access import Actor


def actor_of(interaction: discord.Interaction[Any]) -> Actor:
    """Return who uses a command, and where."""
    person, channel = interaction.user, interaction.channel
    roles = person.roles if isinstance(person, discord.Member) else ()
    return Actor(
        user_id=person.id,
        guild_id=interaction.guild_id,
        channel_id=(
            channel.parent_id if isinstance(channel, discord.Thread) else interaction.channel_id
        ),
        role_ids=frozenset(role.id for role in roles if not role.is_default()),
        is_manager=interaction.guild_id is not None and interaction.permissions.manage_guild,
    )
