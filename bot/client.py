"""The bot itself: a discord.py client that owns the library, the studio and the speech backend."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import discord
import structlog
from discord.ext import commands

from bot.audio.reference import ReferenceReader
from bot.interface.command_tree import TimbreCommandTree
from bot.playback.players import GuildPlayers
from bot.speech import open_backend
from bot.studio import Studio
from bot.voices.database import open_database
from bot.voices.library import VoiceLibrary

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from bot.interface.reply import Reply
    from bot.settings import Settings
    from bot.speech.backend import SpeechBackend

log = structlog.get_logger(__name__)

COGS = (
    "cogs.clone",
    "cogs.say",
    "cogs.channel",
    "cogs.voice",
    "cogs.warm",
    "cogs.about",
)

SECONDS_TO_SAY_GOODBYE = 5.0
SECONDS_TO_HANG_UP = 5.0


class VoiceBot(commands.AutoShardedBot):
    """Timbre on Discord.

    Attributes:
        settings: What the operator decided.
        library: The saved voices; there once the bot has logged in.
        studio: The voice pipeline; there once the bot has logged in.
        open_replies: The commands that are being answered now.
        encoding_turns: Bounds how many replies are encoded at once.
        players: What speaks in voice channels.
    """

    library: VoiceLibrary
    studio: Studio

    def __init__(
        self,
        settings: Settings,
        *,
        speech: SpeechBackend | None,
        serving: bool = True,
        voice_class: Callable[..., Any] = discord.VoiceClient,
    ) -> None:
        intents = discord.Intents.none()
        intents.guilds = True
        intents.voice_states = True
        cached = discord.MemberCacheFlags.none()
        cached.voice = True
        super().__init__(
            command_prefix=commands.when_mentioned,
            help_command=None,
            intents=intents,
            allowed_mentions=discord.AllowedMentions.none(),
            tree_cls=TimbreCommandTree,
            member_cache_flags=cached,
            max_messages=None,
        )
        self.settings = settings
        self.open_replies: set[Reply] = set()
        self.encoding_turns = asyncio.Semaphore(settings.max_parallel_uploads)
        self.players = GuildPlayers(
            self, idle_seconds=settings.voice_idle_minutes * 60, voice_class=voice_class
        )
        self._speech = speech
        self._serving = serving

    async def setup_hook(self) -> None:
        """Load the commands and open what they need; discord.py calls this once, at login."""
        for cog in COGS:
            await self.load_extension(cog)
        if self._serving:
            await self.open_studio()

    async def publish_commands(
        self, token: str, *, guild_id: int | None = None, remove: bool = False
    ) -> list[str]:
        """Log in and tell Discord which slash commands there are; return their names.

        Args:
            token: The bot's.
            guild_id: Only in this server, where they show at once; elsewhere clients may take a
                while to notice. A server shows commands twice that are published both ways.
            remove: Take the commands away again instead, there or everywhere.
        """
        await self.login(token)
        guild = discord.Object(guild_id) if guild_id is not None else None
        if guild is not None:
            self.tree.copy_global_to(guild=guild)
        if remove:
            self.tree.clear_commands(guild=guild)
        return [f"/{command.name}" for command in await self.tree.sync(guild=guild)]

    async def open_studio(self) -> None:
        """Open what the commands need, unless it is open."""
        if hasattr(self, "studio"):
            return
        if self._speech is None:
            self._speech = open_backend(self.settings)
        self.library = VoiceLibrary(
            await open_database(self.settings.database_url),
            max_voices_per_user=self.settings.max_voices_per_user,
        )
        await self._speech.start()
        reader = ReferenceReader(max_parallel=self.settings.max_parallel_uploads)
        self.studio = Studio(speech=self._speech, reader=reader, library=self.library)
        log.info("ready to speak", backend=self.studio.backend.name)

    async def close(self) -> None:
        """Tell everyone who waits, then let go of Discord, the backend and the library."""
        await self._halt_work()
        await self._hang_up()
        await super().close()
        if self._speech is not None:
            await self._speech.close()
        if hasattr(self, "library"):
            await self.library.close()
        if self.user is not None:
            log.info("stopped")

    async def on_ready(self) -> None:
        """Log that Discord knows us. Called again after every lost session."""
        log.info("connected", user=str(self.user), guilds=len(self.guilds))

    async def _halt_work(self) -> None:
        reason = "I have to restart now. Please run the command again in a minute."
        try:
            async with asyncio.timeout(SECONDS_TO_SAY_GOODBYE):
                await asyncio.gather(*(reply.halt(reason) for reply in self.open_replies))
        except TimeoutError:
            log.warning("work was cut off by shutdown", replies=len(self.open_replies))

    async def _hang_up(self) -> None:
        try:
            async with asyncio.timeout(SECONDS_TO_HANG_UP):
                await self.players.close()
        except TimeoutError:
            log.warning("voice channels were left in a hurry")


def create_bot(
    settings: Settings,
    *,
    speech: SpeechBackend | None = None,
    serving: bool = True,
    voice_class: Callable[..., Any] = discord.VoiceClient,
) -> VoiceBot:
    """Build the bot without starting it.

    Args:
        settings: What the operator decided.
        speech: Where speech comes from; by default what the settings name.
        serving: False for a bot that only publishes its commands and opens nothing.
        voice_class: What connects to voice channels.
    """
    return VoiceBot(settings, speech=speech, serving=serving, voice_class=voice_class)


Interaction = discord.Interaction[VoiceBot]
"""An interaction as our commands receive it."""
