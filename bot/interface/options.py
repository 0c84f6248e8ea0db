"""What slash commands share: the choices of their options, names behind mentions, their order."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

import discord
import structlog
from discord import app_commands

from backend.contract import LANGUAGES
from bot.interface.delivery import ReplyFormat
from bot.text import MentionKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bot.text import NameOf

log = structlog.get_logger(__name__)

CommandT = TypeVar("CommandT", bound="Callable[..., Any]")

MAX_CHOICES = 25
"""Discord shows no list at all if a bot offers more."""


class Where(StrEnum):
    """Where speech can go. The values are those of the option `where` of `/say`."""

    VOICE = "voice"
    FILE = "file"
    BOTH = "both"


LANGUAGE_CHOICES = [app_commands.Choice(name=name, value=name) for name in LANGUAGES]

FORMAT_CHOICES = [
    app_commands.Choice(name="Ogg/Opus (plays in Discord)", value=ReplyFormat.OGG.value),
    app_commands.Choice(name="Voice message", value=ReplyFormat.VOICE_MESSAGE.value),
    app_commands.Choice(name="MP3", value=ReplyFormat.MP3.value),
    app_commands.Choice(name="WAV", value=ReplyFormat.WAV.value),
    app_commands.Choice(name="FLAC", value=ReplyFormat.FLAC.value),
]

WHERE_CHOICES = [
    app_commands.Choice(name="Voice channel", value=Where.VOICE.value),
    app_commands.Choice(name="File", value=Where.FILE.value),
    app_commands.Choice(name="Both", value=Where.BOTH.value),
]


def in_servers_only(command: CommandT) -> CommandT:
    """Declare that a slash command works in servers only. Put it below the command's decorator."""
    declare = app_commands.allowed_contexts(guilds=True, dms=False, private_channels=False)
    return app_commands.guild_only(declare(command))


async def suggest_voices(
    interaction: discord.Interaction[Any], typed: str
) -> list[app_commands.Choice[str]]:
    """Offer the person's own voices while they type; nothing rather than an error."""
    try:
        names = await interaction.client.library.suggest(
            interaction.user.id, typed, limit=MAX_CHOICES
        )
    except Exception:
        log.exception("autocompletion failed")
        return []
    return [app_commands.Choice(name=name, value=name) for name in names]


def caller_of(interaction: discord.Interaction[Any]) -> str:
    """Who a command's requests are counted for, as `SpeechRequest.caller` says."""
    person = str(interaction.user.id)
    return person if interaction.guild_id is None else f"{interaction.guild_id}/{person}"


def name_resolver(interaction: discord.Interaction[Any]) -> NameOf:
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
        if kind is MentionKind.ROLE:
            role = guild.get_role(snowflake)
            return role.name if role else None
        channel = guild.get_channel_or_thread(snowflake)
        return channel.name if channel and _sees(interaction.user, channel) else None

    return name_of


def _sees(
    person: discord.User | discord.Member, channel: discord.abc.GuildChannel | discord.Thread
) -> bool:
    """Whether a person may know a channel's name. Who is in a private thread is not known."""
    if not isinstance(person, discord.Member):
        return False
    if isinstance(channel, discord.Thread):
        has_parent = channel.parent is not None and not channel.is_private()
        return has_parent and channel.permissions_for(person).view_channel
    return channel.permissions_for(person).view_channel


class OrderedCommand:
    """A command that takes effect after the earlier ones of the same person."""

    def __init__(self, earlier: Sequence[asyncio.Event]) -> None:
        self._earlier = earlier
        self.released = asyncio.Event()

    async def wait_for_earlier(self) -> None:
        """Wait until the earlier commands have taken effect, or failed."""
        for released in self._earlier:
            await released.wait()

    def release(self) -> None:
        """Let later commands take effect."""
        self.released.set()


class CommandOrder:
    """Lets a person's commands take effect in the order in which they were typed."""

    def __init__(self) -> None:
        self._open: dict[int, list[asyncio.Event]] = {}

    @contextmanager
    def command(self, person_id: int) -> Iterator[OrderedCommand]:
        """Put a command behind the person's open ones; it is released when the block ends."""
        events = self._open.setdefault(person_id, [])
        command = OrderedCommand(earlier=list(events))
        events.append(command.released)
        try:
            yield command
        finally:
            command.release()
            events.remove(command.released)
            if not events:
                del self._open[person_id]
