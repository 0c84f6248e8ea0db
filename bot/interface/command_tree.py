"""The command tree, with its handler for whatever leaves a command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from discord import app_commands

from bot.interface.errors import answer_error

if TYPE_CHECKING:
    import discord

    from bot.client import VoiceBot


class TimbreCommandTree(app_commands.CommandTree["VoiceBot"]):
    """A command tree in which every error ends in a log line and a sentence for the person."""

    async def on_error(
        self, interaction: discord.Interaction[VoiceBot], error: app_commands.AppCommandError
    ) -> None:
        """Handle whatever left a command."""
        cause = error.original if isinstance(error, app_commands.CommandInvokeError) else error
        command = interaction.command.qualified_name if interaction.command else None
        await answer_error(interaction, cause, command=command)
