"""`/warm`: keep the voice engine awake for an event, so that nobody waits for it."""

from __future__ import annotations

from datetime import timedelta

import discord
import structlog
from discord import app_commands
from discord.ext import commands

from bot.client import Interaction, VoiceBot
from bot.guilds.access import Action
from bot.guilds.records import AuditAction
from bot.interface.options import in_servers_only

MIN_MINUTES = 5
MAX_MINUTES = 120

log = structlog.get_logger(__name__)


class Warm(commands.Cog):
    """Waking up before somebody asks."""

    def __init__(self, bot: VoiceBot) -> None:
        self.bot = bot

    @app_commands.command(description="Keep the voice engine awake (for whoever runs me)")
    @app_commands.describe(minutes="How many minutes, from now; a GPU that's awake costs money")
    @app_commands.default_permissions(manage_guild=True)
    @in_servers_only
    async def warm(
        self, interaction: Interaction, minutes: app_commands.Range[int, MIN_MINUTES, MAX_MINUTES]
    ) -> None:
        """Wake the voice engine; a later `/warm` makes it stay awake for longer, never shorter."""
        async with self.bot.reply(interaction, Action.OPERATE) as reply:
            seconds = await self.bot.studio.keep_awake(minutes)
            self.bot.policy.audit.note(
                AuditAction.WARMED,
                actor_id=interaction.user.id,
                guild_id=interaction.guild_id,
                details=f"{minutes} minutes",
            )
            log.info(
                "asked to stay awake",
                minutes=minutes,
                guild=interaction.guild_id,
                user=interaction.user.id,
            )
            end = discord.utils.format_dt(discord.utils.utcnow() + timedelta(seconds=seconds), "t")
            await reply.show(
                f"The voice engine is waking up and stays awake until {end}. "
                "A GPU that's awake costs money; use `/warm` again if you need it for longer."
            )


async def setup(bot: VoiceBot) -> None:
    """Called by discord.py when the extension is loaded."""
    await bot.add_cog(Warm(bot))
