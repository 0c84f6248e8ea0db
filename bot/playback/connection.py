"""The bot's place in the voice channels of one guild: joining, healing, following, leaving."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import discord
import structlog

from bot.errors import Refusal
from bot.playback import handshake, stage
from bot.playback.handshake import CONNECT_SECONDS, LEAVE_SECONDS
from bot.playback.kick import Expulsion
from bot.playback.opus import load_opus
from bot.playback.permissions import VocalChannel, check_can_speak_in
from bot.playback.voice_link import Fault, Line

if TYPE_CHECKING:
    from collections.abc import Callable


log = structlog.get_logger(__name__)

JOIN_WITHIN_SECONDS = 10.0
HEAL_WITHIN_SECONDS = 30.0
"""How long connecting is tried again when somebody wants the bot, and when it lost a connection."""

SETTLE_SECONDS = 1.5
"""Discord.py is given this long to get over a move by itself; it takes some 20 ms."""

KEY_SECONDS = 1.5
LOOK_SECONDS = 0.02
AUDIBLE_WITHIN_SECONDS = 120.0
FIRST_SECONDS_BETWEEN_TRIES = 0.5
MAX_SECONDS_BETWEEN_TRIES = 8.0

RATE_LIMITED = 4021
"""https://discord.com/developers/docs/topics/opcodes-and-status-codes#voice"""

DISCONNECTED = "I was disconnected from the voice channel. Use `/say` again to have me back."
RATE_LIMITED_SENTENCE = (
    "Discord asked me to stay out of voice channels for a moment. Please try again in a minute."
)
NO_CONNECTION = (
    "I could not connect to the voice channel. "
    "Please try again in a minute, or use `/say` with `where: file`."
)
CONNECTION_LOST = (
    "I lost the connection to the voice channel and could not get it back. "
    "Please try again in a minute, or use `/say` with `where: file`."
)


class Connection:
    """Keeps the bot in one of a guild's voice channels, as long as it is meant to be there.

    discord.py's own reconnecting is switched off: after a drop it sleeps first, and a connection
    that it is still reviving cannot be replaced without the two fighting over the channel.

    Args:
        client: The bot.
        guild_id: The guild.
        voice_class: What connects; `discord.VoiceClient` but in the demo.
    """

    def __init__(
        self, client: discord.Client, guild_id: int, *, voice_class: Callable[..., Any]
    ) -> None:
        self._client = client
        self._guild_id = guild_id
        self._voice_class = voice_class
        self._wanted: int | None = None
        self._line: Line | None = None
        self._expulsion = Expulsion(patience=CONNECT_SECONDS)
        self._servers_answer = False
        self._lock = asyncio.Lock()

    @property
    def guild(self) -> discord.Guild:
        """The guild. Raises `Refusal` if the bot is no longer part of it."""
        guild = self._client.get_guild(self._guild_id)
        if guild is None:
            raise Refusal("I am no longer on that server.")
        return guild

    @property
    def channel(self) -> VocalChannel | None:
        """The channel that the bot is meant to be in, wherever it was moved."""
        channel = self._client.get_channel(self._wanted) if self._wanted is not None else None
        return channel if isinstance(channel, VocalChannel) else None

    @property
    def is_well(self) -> bool:
        """Whether speech would get through now, as far as one can tell."""
        return self._line is not None and self._line.trouble() is None

    async def join(self, channel: VocalChannel) -> str | None:
        """Go to a channel, and onto its stage if it has one.

        Returns a sentence that people should know, if there is one. Raises `Refusal`.
        """
        check_can_speak_in(channel)
        load_opus()
        async with self._lock:
            if not self.is_well:
                await self._settle()
            if self._wanted != channel.id or not self.is_well:
                self._wanted = channel.id
                await self._connect_within(JOIN_WITHIN_SECONDS, else_say=NO_CONNECTION)
        return await stage.step_up(channel)

    async def line(self) -> Line:
        """The line to speak through, mended if it is broken.

        Raises `Refusal` if the bot was disconnected, or the line cannot be mended.
        """
        async with self._lock:
            before = self._line, self._wanted
            if not self.is_well:
                await self._settle()
            if not self.is_well:
                await self._connect_within(HEAL_WITHIN_SECONDS, else_say=CONNECTION_LOST)
            assert self._line is not None  # noqa: S101 - both raise otherwise
            self._follow()
            if self.channel is not None and before != (self._line, self._wanted):
                await stage.step_up(self.channel)
            return self._line

    async def until_audible(self, *, unless: Callable[[], bool]) -> None:
        """Wait while the bot is muted, or in a stage's audience.

        Raises `Refusal` if that takes too long.
        """
        await _until(lambda: self.is_audible or unless(), within=AUDIBLE_WITHIN_SECONDS)
        if not self.is_audible and not unless():
            raise Refusal(
                "Nobody could hear me: I am muted, or not among the speakers of the stage. "
                "Ask a moderator to let me speak, then try again."
            )

    @property
    def is_audible(self) -> bool:
        """Whether no moderator keeps the bot from being heard."""
        state = self.guild.me.voice
        return state is None or not (state.mute or state.suppress)

    async def give_up(self) -> Refusal:
        """Leave, as nothing gets through by one line after the other; return what to raise."""
        async with self._lock:
            refusal = await self._give_up(CONNECTION_LOST)
            self._servers_answer = False  # perhaps all is well, and servers answer no more
            return refusal

    def take_note(self, *, left: bool) -> None:
        """Be told that Discord shows the bot in a channel, or in none."""
        if left:
            self._expulsion.is_shown_outside(self._line.close_code if self._line else None)
        else:
            self._expulsion.is_shown_inside()

    async def leave(self) -> None:
        """Leave the channel, if there is one, for good."""
        self._wanted = None
        async with self._lock:
            await self._hang_up()

    def _follow(self) -> None:
        """Take note of where a moderator has moved the bot."""
        if self._line is not None and self._line.voice.channel is not None:
            self._wanted = self._line.voice.channel.id

    async def _settle(self) -> None:
        """Let discord.py get over a move; find out whether the bot was disconnected."""
        line = self._line
        if line is None:
            return
        await _until(lambda: not _is_unsettled(line), within=SETTLE_SECONDS)
        if self.is_well:
            await self._until_understood(line)
            return
        code = line.close_code
        if self._expulsion.happened or code == RATE_LIMITED:
            log.info("disconnected from voice", guild=self._guild_id, code=code)
            sentence = RATE_LIMITED_SENTENCE if code == RATE_LIMITED else DISCONNECTED
            raise await self._give_up(sentence)
        log.warning("voice line lost", guild=self._guild_id, code=code)
        self._follow()

    async def _connect_within(self, seconds: float, *, else_say: str) -> None:
        """Connect to the channel that is wanted, trying again until so many seconds have gone by.

        Raises `Refusal`, with that sentence if nothing is known but that it failed.
        """
        deadline = time.monotonic() + seconds
        pause = FIRST_SECONDS_BETWEEN_TRIES
        await self._hang_up()
        while not await self._connect():
            if time.monotonic() + pause > deadline:
                raise await self._give_up(else_say)
            await asyncio.sleep(pause)
            pause = min(2 * pause, MAX_SECONDS_BETWEEN_TRIES)

    async def _connect(self) -> bool:
        """Make a line to the channel that is wanted; return whether it stands.

        Raises `Refusal` if there is no such channel, or the bot should stay out of it.
        """
        channel = self.channel
        if channel is None:
            raise await self._give_up(DISCONNECTED)
        try:
            with self._expulsion.while_connecting():
                voice = await handshake.connect(channel, self._voice_class)
        except stage.FAILURES as error:
            log.warning("no voice connection", guild=self._guild_id, reason=repr(error))
            if isinstance(error, discord.ConnectionClosed) and error.code == RATE_LIMITED:
                raise await self._give_up(RATE_LIMITED_SENTENCE) from error
            if self._expulsion.happened:
                raise await self._give_up(DISCONNECTED) from error
            shown = self.guild.me.voice
            if self._expulsion.has_arrived and shown is not None and shown.channel is not None:
                self._wanted = shown.channel.id  # a moderator may have moved the bot meanwhile
            await self._hang_up()
            return False
        made: object = voice
        line = self._line = Line(
            voice,
            is_current=lambda: self.guild.voice_client is made,
            answers_expected=self._servers_answer,
        )
        if self._expulsion.happened:
            raise await self._give_up(DISCONNECTED)
        if not voice.is_connected():  # discord.py may give up without saying so
            await self._hang_up()
            return False
        await self._until_understood(line)
        return True

    async def _until_understood(self, line: Line) -> None:
        """Wait until who else is there can decrypt what is said. Somebody alone has no key."""
        channel = line.voice.channel
        if channel is not None and len(channel.voice_states) > 1:
            await _until(lambda: line.is_understood, within=KEY_SECONDS)

    async def _give_up(self, sentence: str) -> Refusal:
        """Be in no channel, and want to be in none; return what to raise."""
        await self._hang_up()
        self._wanted = None
        return Refusal(sentence)

    async def _hang_up(self) -> None:
        """End whatever connection there is, and wait until Discord shows the bot in no channel.

        Without that, the news of having left would reach, and end, the next connection.
        """
        line, self._line = self._line, None
        if line is not None:
            self._servers_answer = line.next_should_answer
            line.hang_up()
        guild = self._client.get_guild(self._guild_id)
        if guild is None:
            return
        voice: Any = guild.voice_client or (line.voice if line is not None else None)
        handshake.abandon(voice)
        if voice is not None and (voice is guild.voice_client or voice.is_connected()):
            await handshake.disconnect(voice)
        else:  # discord.py has left by itself, and does not wait for Discord's answer then
            await _until(lambda: guild.me.voice is None, within=LEAVE_SECONDS)
        if guild.me.voice is not None:
            await guild.change_voice_state(channel=None)


def _is_unsettled(line: Line) -> bool:
    trouble = line.trouble()
    return trouble is not None and trouble.fault is Fault.UNSETTLED


async def _until(condition: Callable[[], bool], *, within: float) -> None:
    """Wait until something is so, or until that many seconds have gone by."""
    deadline = time.perf_counter() + within
    while not condition():
        if time.perf_counter() > deadline:
            return
        await asyncio.sleep(LOOK_SECONDS)
