"""`/report` and the message menu "Report this speech": what was said reaches who decides."""

from __future__ import annotations

from functools import partial

import discord
from discord import app_commands
from discord.ext import commands

from bot.client import Interaction, VoiceBot
from bot.guilds.access import Action
from bot.guilds.records import Subject
from bot.interface.actors import actor_of
from bot.interface.message_links import MAX_LINK_CHARACTERS
from bot.interface.reports.buttons import ReasonForm, claim_button

MENU = "Report this speech"


class Report(commands.Cog):
    """What anybody can do about speech that should not have been."""

    def __init__(self, bot: VoiceBot) -> None:
        self.bot = bot
        self._menu = app_commands.ContextMenu(name=MENU, callback=self._report_message)

    async def cog_load(self) -> None:
        """Add the message menu, which discord.py doesn't find by itself."""
        self.bot.tree.add_command(self._menu)

    async def cog_unload(self) -> None:
        """Take the message menu away again."""
        self.bot.tree.remove_command(self._menu.name, type=self._menu.type)

    @app_commands.command(description="Report something I said to those who can act on it")
    @app_commands.describe(
        message="The link to my message; leave it out for what I say in your voice channel"
    )
    async def report(
        self,
        interaction: Interaction,
        message: app_commands.Range[str, 1, MAX_LINK_CHARACTERS] | None = None,
    ) -> None:
        """Report a message, or what is heard now or was heard last."""
        await self.bot.policy.check(actor_of(interaction), Action.REPORT)
        subject = await self.bot.reporting.meant(interaction.user, message)
        await self._ask(interaction, subject)

    async def _report_message(self, interaction: Interaction, message: discord.Message) -> None:
        """Report the message whose menu it is."""
        await self.bot.policy.check(actor_of(interaction), Action.REPORT)
        subject = await self.bot.reporting.posted(message.id, interaction.user.id)
        await self._ask(interaction, subject)

    async def _ask(self, interaction: Interaction, subject: Subject) -> None:
        """Ask what is wrong with it, in a form; `_report` takes its answer."""
        await interaction.response.send_modal(ReasonForm(on_answer=partial(self._report, subject)))

    async def _report(self, subject: Subject, interaction: Interaction, reason: str) -> None:
        """Send the report."""
        async with self.bot.reply(interaction, Action.REPORT) as reply:
            report, words = await self.bot.reporting.report(subject, interaction.user.id, reason)
            is_saved = report.voice_id is not None
            await reply.show(words, view=claim_button(report.id) if is_saved else None)


async def setup(bot: VoiceBot) -> None:
    """Called by discord.py when the extension is loaded."""
    await bot.add_cog(Report(bot))
