"""`/help`: what the bot does, what it keeps about people, and how to delete that."""

from __future__ import annotations

from discord import app_commands
from discord.ext import commands

from backend.contract import SpeechError
from bot.client import Interaction, VoiceBot
from bot.guilds.access import Action
from bot.interface import cards


class About(commands.Cog):
    """The page that explains everything."""

    def __init__(self, bot: VoiceBot) -> None:
        self.bot = bot

    @app_commands.command(description="What I do, what I keep about you, and how to delete it")
    async def help(self, interaction: Interaction) -> None:
        """Show the page, to the person alone."""
        studio = self.bot.studio
        async with self.bot.reply(interaction, Action.OWN) as reply:
            problem: SpeechError | TimeoutError | None = None
            try:
                await studio.health()
            except (SpeechError, TimeoutError) as error:
                problem = error
            page = cards.help_page(
                studio.backend,
                problem,
                privacy_url=self.bot.settings.privacy_url,
                terms_url=self.bot.settings.terms_url,
            )
            await reply.show(embed=page)


async def setup(bot: VoiceBot) -> None:
    """Called by discord.py when the extension is loaded."""
    await bot.add_cog(About(bot))
