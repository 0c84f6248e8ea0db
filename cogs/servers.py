"""The servers that the bot is in: it leaves those that the operator doesn't allow."""

from __future__ import annotations

import discord
import structlog
from discord.ext import commands

from bot.client import VoiceBot
from bot.interface.delivery.answers import DISCORD_FAILURES

log = structlog.get_logger(__name__)


class Servers(commands.Cog):
    """Keeps to the servers in ALLOWED_SERVERS, whoever invites the bot."""

    def __init__(self, bot: VoiceBot) -> None:
        self.bot = bot

    @commands.Cog.listener()
    async def on_ready(self) -> None:
        """Leave where the bot was invited before. Called by discord.py after each new session."""
        for guild in list(self.bot.guilds):
            await self._leave_unless_allowed(guild)

    @commands.Cog.listener()
    async def on_guild_join(self, guild: discord.Guild) -> None:
        """Leave where the bot is invited now. Called by discord.py."""
        await self._leave_unless_allowed(guild)

    @commands.Cog.listener()
    async def on_guild_available(self, guild: discord.Guild) -> None:
        """Leave where the bot was invited during an outage of Discord. Called when that is over."""
        await self._leave_unless_allowed(guild)

    async def _leave_unless_allowed(self, guild: discord.Guild) -> None:
        if self.bot.policy.rules.allows_server(guild.id):
            return
        try:
            await guild.leave()
        except DISCORD_FAILURES as error:
            log.warning("not left, though it isn't allowed", guild=guild.id, reason=repr(error))
        else:
            log.info("left a server that ALLOWED_SERVERS doesn't name", guild=guild.id)


async def setup(bot: VoiceBot) -> None:
    """Called by discord.py when the extension is loaded."""
    await bot.add_cog(Servers(bot))
