"""`/help`: what the bot does, what it keeps about people, and how to delete that."""

from __future__ import annotations

from discord import app_commands
from discord.ext import commands

from bot.client import Interaction, VoiceBot
from bot.interface import wording
from bot.interface.reply import Reply


class About(commands.Cog):
    """The page that explains everything."""

    def __init__(self, bot: VoiceBot) -> None:
        self.bot = bot

    @app_commands.command(description="What I do, what I keep about you, and how to delete it")
    async def help(self, interaction: Interaction) -> None:
        """Show the page, to the person alone."""
        studio = self.bot.studio
        async with Reply(interaction) as reply:
            await reply.show(embed=wording.help_page(studio.backend, await studio.state()))


async def setup(bot: VoiceBot) -> None:
    """Called by discord.py when the extension is loaded."""
    await bot.add_cog(About(bot))
