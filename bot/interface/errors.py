"""The last resort: what happens to an error that no command expected."""

from __future__ import annotations

import secrets
from typing import Any

import aiohttp
import discord
import structlog
from discord import app_commands

from backend.contract import SpeechError
from bot.errors import Refusal, explain

log = structlog.get_logger(__name__)

DISCORD_FAILURES = (discord.HTTPException, aiohttp.ClientError, OSError)
"""What a request to Discord may raise: its refusals, and a connection that breaks."""

# https://discord.com/developers/docs/topics/opcodes-and-status-codes#json
UNKNOWN_INTERACTION = 10062
ALREADY_ACKNOWLEDGED = 40060


class TimbreView(discord.ui.View):
    """A view in which every error ends in a log line and a sentence for the person."""

    async def on_error(
        self, interaction: discord.Interaction[Any], error: Exception, _item: discord.ui.Item[Any]
    ) -> None:
        """Handle whatever left a button's callback."""
        await answer_error(interaction, error, command=type(self).__name__)


async def answer_error(
    interaction: discord.Interaction[Any], error: Exception, *, command: str | None
) -> None:
    """Log an error and tell the person; an incident number ties the two together."""
    if _came_too_late(error):
        log.warning("interaction expired before it was answered", command=command)
        return
    if isinstance(error, Refusal | SpeechError):
        sentence = explain(error)
    elif isinstance(error, app_commands.CommandSignatureMismatch | app_commands.CommandNotFound):
        log.warning("commands are out of date; run `python -m bot sync`", command=command)
        sentence = "That command has changed. Please reload Discord (Ctrl+R) and try again."
    else:
        sentence = report(error, command=command)
    await _tell(interaction, sentence)


def report(error: BaseException, *, command: str | None) -> str:
    """Log an error that nobody expected; return the sentence for the person."""
    incident = secrets.token_hex(3)
    log.error("command failed", command=command, incident=incident, exc_info=error)
    return (
        "Something broke on my side. Please try again in a minute; "
        f"if it happens again, tell an admin the number `{incident}`."
    )


async def _tell(interaction: discord.Interaction[Any], sentence: str) -> None:
    try:
        if interaction.response.is_done():
            await interaction.edit_original_response(content=sentence, embed=None, view=None)
        else:
            await interaction.response.send_message(sentence, ephemeral=True)
    except DISCORD_FAILURES as error:
        log.warning("error not shown", reason=repr(error))


def _came_too_late(error: Exception) -> bool:
    """Discord forgets an interaction that nobody acknowledged within three seconds."""
    return isinstance(error, discord.HTTPException) and error.code in {
        UNKNOWN_INTERACTION,
        ALREADY_ACKNOWLEDGED,
    }
