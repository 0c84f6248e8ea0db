"""`/settings`: what a server's admins decide."""

from __future__ import annotations

from discord import app_commands
from discord.ext import commands

from bot.client import Interaction, VoiceBot
from bot.guilds.access import Action
from bot.interface.options import in_servers_only
from bot.interface.server_settings.controls import SettingsControl, receive_form, show_settings


class Settings(commands.Cog):
    """One page with all of them, and controls to change each."""

    def __init__(self, bot: VoiceBot) -> None:
        self.bot = bot

    @app_commands.command(description="Decide who may use me here, where, and how much")
    @app_commands.default_permissions(manage_guild=True)
    @in_servers_only
    async def settings(self, interaction: Interaction) -> None:
        """Show what is decided, with controls to change it."""
        async with self.bot.reply(interaction, Action.MANAGE):
            await show_settings(interaction)

    @commands.Cog.listener()
    async def on_interaction(self, interaction: Interaction) -> None:
        """Called by discord.py with everything that people do with the bot, such as forms."""
        await receive_form(interaction)


async def setup(bot: VoiceBot) -> None:
    """Called by discord.py when the extension is loaded."""
    await bot.add_cog(Settings(bot))
    bot.add_dynamic_items(SettingsControl)
