"""The bot itself: a discord.py client that owns the library, the studio and the speech backend."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import discord
import structlog
from discord.ext import commands

from bot.cloning import Cloning
from bot.enforcement import Enforcement
from bot.errors import Reason
from bot.guilds.access import Action
from bot.interface.again_button import AgainButton
from bot.interface.delivery.answers import DISCORD_FAILURES
from bot.interface.errors import TimbreCommandTree
from bot.interface.live_attribution import LiveAttributions
from bot.interface.options import Where
from bot.interface.own_voice import HearButton
from bot.interface.reply import Replies, Reply
from bot.interface.reports.buttons import BUTTONS
from bot.interface.reports.notices import ReportNotices
from bot.interface.transcripts import TranscriptButton
from bot.playback.players import GuildPlayers
from bot.playback.voice_client import VoiceClient
from bot.reporting import Reporting
from bot.services import open_services
from bot.speaking.speaking import Speaking
from bot.voices.spoken_consent import SpokenConsents

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from bot.export import Exports
    from bot.guilds.policy import Policy
    from bot.services import Services
    from bot.settings import Settings
    from bot.speech.backend import SpeechBackend
    from bot.studio import Studio
    from bot.verification import Verification
    from bot.voice_access import VoiceAccess
    from bot.voices.dictionary import Dictionaries
    from bot.voices.library import VoiceLibrary

log = structlog.get_logger(__name__)

COGS = (
    "cogs.clone",
    "cogs.say",
    "cogs.channel",
    "cogs.voice",
    "cogs.privacy",
    "cogs.dictionary",
    "cogs.report",
    "cogs.verify",
    "cogs.moderation",
    "cogs.upkeep",
    "cogs.warm",
    "cogs.usage",
    "cogs.settings",
    "cogs.servers",
    "cogs.about",
)

SECONDS_TO_END_COMMANDS = 2.5
SECONDS_TO_TELL_AND_LEAVE = 4.0
SECONDS_TO_CLOSE = 2.5
SECONDS_TO_CANCEL = 0.2
"""A container is killed ten seconds after it was told to stop; all of this takes 6.9 at most."""


class VoiceBot(commands.AutoShardedBot):
    """Timbre on Discord. It is built without being started.

    Args:
        settings: What the operator decided.
        speech: Where speech comes from; by default what the settings name.
        voice_class: What connects to voice channels; by default discord.py's client, extended.
        speaks_by_default: Where `/say` speaks for a member who is in a voice channel and doesn't
            choose.

    Attributes:
        settings: What the operator decided.
        speaks_by_default: Where `/say` speaks for a member in a voice channel who doesn't choose.
        services: The next five together; there once the bot has logged in.
        library: The saved voices; there once the bot has logged in.
        dictionaries: How words are pronounced; there once the bot has logged in.
        policy: What is allowed, where, and what happened; there once the bot has logged in.
        live_attributions: Tells voice channels who asked for what is heard there; there once
            the bot has logged in.
        voice_access: Who may use which voice; there once the bot has logged in.
        enforcement: Ends what may not go on; there once the bot has logged in.
        reporting: Sends reports to who decides; there once the bot has logged in.
        exports: Packs what is kept about people; there once the bot has logged in.
        studio: The voice pipeline; there once the bot has logged in.
        cloning: Makes voices from recordings; there once the bot has logged in.
        speaking: Has voices say what people ask for; there once the bot has logged in.
        verification: Tells whether the bot made a recording; there once the bot has logged in.
        replies: The commands that are being answered now.
        players: What speaks in voice channels.
        spoken_consents: The sentences that members were given to read aloud.
        command_ids: Discord's ids of the commands that every server has, by their names; sentences
            link to those.
    """

    services: Services
    library: VoiceLibrary
    dictionaries: Dictionaries
    policy: Policy
    live_attributions: LiveAttributions
    voice_access: VoiceAccess
    enforcement: Enforcement
    reporting: Reporting
    exports: Exports
    studio: Studio
    cloning: Cloning
    speaking: Speaking
    verification: Verification

    def __init__(
        self,
        settings: Settings,
        *,
        speech: SpeechBackend | None = None,
        voice_class: Callable[..., Any] | None = None,
        speaks_by_default: Where = Where.VOICE,
    ) -> None:
        intents = discord.Intents.none()
        intents.guilds = True
        intents.voice_states = True
        cached = discord.MemberCacheFlags.none()
        cached.voice = True
        sharding: dict[str, Any] = {}  # without, discord.py runs as many shards as Discord suggests
        if settings.shards is not None:
            sharding["shard_ids"] = list(settings.shards.ids)
            sharding["shard_count"] = settings.shards.count
        super().__init__(
            command_prefix=commands.when_mentioned,
            help_command=None,
            intents=intents,
            allowed_mentions=discord.AllowedMentions.none(),
            tree_cls=TimbreCommandTree,
            member_cache_flags=cached,
            max_messages=None,
            **sharding,
        )
        self.settings = settings
        self.speaks_by_default = speaks_by_default
        self.replies = Replies(
            max_encoders=settings.max_parallel_uploads,
            # There is neither a studio nor a policy yet.
            cold_start=lambda: self.studio.cold_start(),  # noqa: PLW0108
            check=lambda actor, action: self.policy.check(actor, action),  # noqa: PLW0108
            begin=lambda *what: self.policy.begin(*what),  # noqa: PLW0108
        )
        self.spoken_consents = SpokenConsents()
        self.players = GuildPlayers(
            self,
            idle_seconds=settings.voice_idle_minutes * 60,
            enter=lambda guild_id: self.policy.enter_channel(guild_id),  # noqa: PLW0108
            voice_class=voice_class or partial(VoiceClient, trace=settings.voice_trace),
        )
        self.command_ids: dict[str, int] = {}
        self._speech = speech
        self._is_serving = True

    def reply(
        self, interaction: Interaction, action: Action = Action.OTHER, *, in_place: bool = False
    ) -> Reply:
        """The answer to a command that does such a thing, to be used as a context manager.

        Args:
            interaction: The command, or what was done with a message of the bot's.
            action: What the person wants to do.
            in_place: The answer takes the place of that message.
        """
        return Reply(interaction, self.replies, action, in_place=in_place)

    async def setup_hook(self) -> None:
        """Load the commands and open what they need; discord.py calls this once, at login."""
        for cog in COGS:
            await self.load_extension(cog)
        self.add_dynamic_items(*BUTTONS, AgainButton, HearButton, TranscriptButton)
        if self._is_serving:
            await self.open_studio()

    async def publish_commands(
        self, token: str, *, guild_id: int | None = None, remove: bool = False
    ) -> list[str]:
        """Log in and tell Discord which commands there are; return their names.

        That is all that the bot can do then: it opens neither the library nor a speech backend.

        Args:
            token: The bot's.
            guild_id: Only in this server, where they show at once; elsewhere clients may take a
                while to notice. A server shows commands twice that are published both ways.
            remove: Take the commands away again instead, there or everywhere.
        """
        self._is_serving = False
        await self.login(token)
        guild = discord.Object(guild_id) if guild_id is not None else None
        if guild is not None:
            self.tree.copy_global_to(guild=guild)
        if remove:
            self.tree.clear_commands(guild=guild)
        published = await self.tree.sync(guild=guild)
        slash = discord.AppCommandType.chat_input
        return [f"/{each.name}" if each.type is slash else each.name for each in published]

    async def open_studio(self) -> None:
        """Open what the commands need, unless it is open."""
        if hasattr(self, "studio"):
            return
        self.services = services = await open_services(self.settings, self._speech)
        self._speech = services.speech
        self.library, self.dictionaries = services.library, services.dictionaries
        self.policy, self.studio = services.policy, services.studio
        self.verification = services.verification
        self.exports, self.voice_access = services.exports, services.voice_access
        self.enforcement = Enforcement(self.voice_access, lambda: self.replies.open, self.players)
        self.live_attributions = LiveAttributions(
            self, self.policy, command_ids=lambda: self.command_ids
        )
        self.reporting = Reporting(
            self,
            self.policy,
            self.library,
            self.players,
            ReportNotices(
                self,
                self.policy,
                operators=self.settings.operators,
                operators_channel=self.settings.report_channel,
            ),
            enforce=self.enforcement.enforce,
        )
        self.cloning = Cloning(
            services,
            replies=self.replies,
            spoken_consents=self.spoken_consents,
            on_replaced=self.reporting.note_new_recording,
        )
        self.speaking = Speaking(
            services,
            replies=self.replies,
            players=self.players,
            live_attributions=self.live_attributions,
            by_default=self.speaks_by_default,
        )

    async def close(self) -> None:
        """Tell everyone who waits, then close Discord's sessions, the backend and the library."""
        await _within(
            SECONDS_TO_TELL_AND_LEAVE,
            self.replies.close(Reason.RESTARTING, within=SECONDS_TO_END_COMMANDS),
            self.players.close(),
        )
        if hasattr(self, "live_attributions"):
            await self.live_attributions.close()
        closing = [super().close()]
        if self._speech is not None:
            closing.append(self._speech.close())
        if hasattr(self, "library"):
            closing.append(self.library.close())
        await _within(SECONDS_TO_CLOSE, *closing)
        if self.user is not None:
            log.info("stopped")

    async def on_ready(self) -> None:
        """Ask for the ids of the commands. Called by discord.py after every new session."""
        log.info("connected", user=str(self.user), guilds=len(self.guilds))
        try:
            commands = await self.tree.fetch_commands()
        except DISCORD_FAILURES as error:
            log.warning("commands are not linked in sentences", reason=repr(error))
        else:
            self.command_ids = {command.name: command.id for command in commands}


Interaction = discord.Interaction[VoiceBot]
"""An interaction as our commands receive it."""


async def _within(seconds: float, *parts: Coroutine[Any, Any, None]) -> None:
    """Do parts of the shutdown at once, but wait only for so long; what fails is logged."""
    tasks = [asyncio.create_task(part) for part in parts]
    _, late = await asyncio.wait(tasks, timeout=seconds)
    for task in late:
        log.warning("cut off at the end", part=getattr(task.get_coro(), "__qualname__", None))
        task.cancel()
    if late:
        await asyncio.wait(late, timeout=SECONDS_TO_CANCEL)
    for error in await asyncio.gather(*set(tasks) - late, return_exceptions=True):
        if isinstance(error, BaseException):
            log.error("not closed in order", exc_info=error)
