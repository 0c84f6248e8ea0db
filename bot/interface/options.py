"""What slash commands share: the choices of their options, and their order."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

import discord
import structlog
from discord import app_commands

from backend.contract import AUTO_LANGUAGE, LANGUAGES
from bot.interface.actors import actor_of
from bot.interface.delivery.attachment import ReplyFormat
from bot.voices.consent import Permission
from bot.voices.records import Whose
from bot.voices.rights import Asker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

log = structlog.get_logger(__name__)

CommandT = TypeVar("CommandT", bound="Callable[..., Any]")

MAX_CHOICES = 25
"""Discord shows no list at all if a bot offers more."""


MIN_SPEED, MAX_SPEED = 0.5, 2.0
"""What a person may choose as the speed of speech."""


class Where(StrEnum):
    """Where speech can go. The values are those of the option `where` of `/say`."""

    VOICE = "voice"
    FILE = "file"
    BOTH = "both"


LANGUAGE_CHOICES = [app_commands.Choice(name=name, value=name) for name in LANGUAGES]

PERMISSION_CHOICES = [
    app_commands.Choice(name="This is my own voice", value=Permission.OWN.value),
    app_commands.Choice(name="I have the speaker's permission", value=Permission.GIVEN.value),
]

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


WHOSE_CHOICES = [
    app_commands.Choice(name="Mine", value=Whose.PERSON.value),
    app_commands.Choice(name="This server's (needs Manage Server)", value=Whose.SERVER.value),
]


def language_to_read(chosen: str, locale: discord.Locale) -> str:
    """Return the language that a person can read a sentence in.

    Args:
        chosen: The language option of a command.
        locale: That of the person's Discord.
    """
    if chosen != AUTO_LANGUAGE:
        return chosen
    return _LANGUAGE_OF_LOCALE.get(locale.value.partition("-")[0], "English")


_LANGUAGE_OF_LOCALE = {
    "de": "German",
    "es": "Spanish",
    "fr": "French",
    "it": "Italian",
    "ja": "Japanese",
    "ko": "Korean",
    "pt": "Portuguese",
    "ru": "Russian",
    "zh": "Chinese",
}
"""Of the locales that Discord names: https://discord.com/developers/docs/reference#locales"""


def in_servers_only(command: CommandT) -> CommandT:
    """Declare that a slash command works in servers only. Put it below the command's decorator."""
    declare = app_commands.allowed_contexts(guilds=True, dms=False, private_channels=False)
    return app_commands.guild_only(declare(command))


async def suggest_voices(
    interaction: discord.Interaction[Any], typed: str
) -> list[app_commands.Choice[str]]:
    """Offer voices that the person may use here while they type; nothing rather than an error.

    Their own come first. What a choice of somebody else's stands for names that voice alone.
    """
    try:
        own, shared = await interaction.client.voice_access.suggest(actor_of(interaction), typed)
    except Exception:
        log.exception("autocompletion failed")
        return []
    return [
        *(app_commands.Choice(name=name, value=name) for name in own),
        *(app_commands.Choice(name=voice.label, value=voice.reference) for voice in shared),
    ]


async def suggest_own_voices(
    interaction: discord.Interaction[Any], typed: str
) -> list[app_commands.Choice[str]]:
    """Offer the person's own voices while they type; nothing rather than an error."""
    try:
        person = Asker(interaction.user.id)
        own, _ = await interaction.client.library.suggestions.search(person, typed)
    except Exception:
        log.exception("autocompletion failed")
        return []
    return [app_commands.Choice(name=name, value=name) for name in own]


def caller_of(interaction: discord.Interaction[Any]) -> str:
    """Who a command's requests are counted for, as `SpeechRequest.caller` says."""
    person = str(interaction.user.id)
    return person if interaction.guild_id is None else f"{interaction.guild_id}/{person}"


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
