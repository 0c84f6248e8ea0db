"""What slash commands share: the choices of their options, and names behind what people type."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from discord import app_commands

from backend.contract import LANGUAGES
from bot.interface.attachments import ReplyFormat
from bot.text import MentionKind

if TYPE_CHECKING:
    from bot.client import Interaction
    from bot.text import NameOf

log = structlog.get_logger(__name__)

MAX_CHOICES = 25
"""Discord shows no list at all if a bot offers more."""

LANGUAGE_CHOICES = [app_commands.Choice(name=name, value=name) for name in LANGUAGES]

FORMAT_CHOICES = [
    app_commands.Choice(name="Ogg/Opus (plays in Discord)", value=ReplyFormat.OGG.value),
    app_commands.Choice(name="Voice message", value=ReplyFormat.VOICE_MESSAGE.value),
    app_commands.Choice(name="MP3", value=ReplyFormat.MP3.value),
    app_commands.Choice(name="WAV", value=ReplyFormat.WAV.value),
    app_commands.Choice(name="FLAC", value=ReplyFormat.FLAC.value),
]


async def suggest_voices(interaction: Interaction, typed: str) -> list[app_commands.Choice[str]]:
    """Offer the person's own voices while they type; nothing rather than an error."""
    try:
        names = await interaction.client.library.suggest(
            interaction.user.id, typed, limit=MAX_CHOICES
        )
    except Exception:
        log.exception("autocompletion failed")
        return []
    return [app_commands.Choice(name=name, value=name) for name in names]


def counts_for(interaction: Interaction) -> str:
    """Say whose turn a command takes where turns are shared, as `SpeechRequest.caller` does."""
    person = str(interaction.user.id)
    return person if interaction.guild_id is None else f"{interaction.guild_id}/{person}"


def name_resolver(interaction: Interaction) -> NameOf:
    """Find the names behind mentions, from what the bot knows of the server anyway."""
    guild = interaction.guild

    def name_of(kind: MentionKind, snowflake: int) -> str | None:
        if kind is MentionKind.USER and snowflake == interaction.user.id:
            return interaction.user.display_name
        if guild is None:
            return None
        if kind is MentionKind.USER:
            member = guild.get_member(snowflake)
            return member.display_name if member else None
        find = guild.get_role if kind is MentionKind.ROLE else guild.get_channel_or_thread
        found = find(snowflake)
        return found.name if found else None

    return name_of
