"""The bot's connection to a voice channel of one guild: join, repair, follow moves, leave."""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import discord
import structlog

from bot.errors import Reason, Refusal
from bot.playback import voice_link
from bot.playback.opus import load_opus
from bot.playback.permissions import VOICE_ERRORS, VocalChannel, become_speaker, check_can_speak_in
from bot.playback.voice_link import CONNECT_SECONDS, DISCONNECT_SECONDS, Fault, VoiceLink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bot.errors import Note

log = structlog.get_logger(__name__)

JOIN_WITHIN_SECONDS = 10.0
REPAIR_WITHIN_SECONDS = 30.0
"""How long connecting is retried: when a member calls the bot, and after a lost connection."""

SETTLE_SECONDS = 1.5
"""How long to wait for discord.py to complete a move, which takes some 20 ms."""

KEY_SECONDS = 1.5
POLL_SECONDS = 0.02
AUDIBLE_WITHIN_SECONDS = 120.0
FIRST_SECONDS_BETWEEN_TRIES = 0.5
MAX_SECONDS_BETWEEN_TRIES = 8.0

# https://discord.com/developers/docs/topics/opcodes-and-status-codes#voice
RATE_LIMITED = 4021
KICK_CODES = {None, 1000, 4014, 4022}
"""The websocket's close codes after a moderator disconnected the bot; None while it is open."""


class Connection:
    """Keeps the bot in one of a guild's voice channels, until it should leave.

    discord.py's own reconnecting is switched off. After a drop it sleeps before it reconnects. A
    connection made in the meantime would compete with its connection for the channel.

    Args:
        client: The bot.
        guild_id: The guild.
        voice_class: The class of voice clients: `discord.VoiceClient`, or the demo's.
    """

    def __init__(
        self, client: discord.Client, guild_id: int, *, voice_class: Callable[..., Any]
    ) -> None:
        self._client = client
        self._guild_id = guild_id
        self._voice_class = voice_class
        self._wanted: int | None = None  # the id of the channel that the bot should be in
        self._link: VoiceLink | None = None
        self._kick = KickDetector(patience=CONNECT_SECONDS)
        self._servers_echo = False
        self._lock = asyncio.Lock()

    @property
    def guild(self) -> discord.Guild:
        """The guild. Raises `Refusal` if the bot is no longer in it."""
        guild = self._client.get_guild(self._guild_id)
        if guild is None:
            raise Refusal(Reason.NO_LONGER_IN_GUILD)
        return guild

    @property
    def channel(self) -> VocalChannel | None:
        """The channel that the bot should be in. It changes if a moderator moves the bot."""
        channel = self._client.get_channel(self._wanted) if self._wanted is not None else None
        return channel if isinstance(channel, VocalChannel) else None

    @property
    def is_well(self) -> bool:
        """Whether there is a link without any known fault."""
        return self._link is not None and self._link.trouble() is None

    @property
    def is_audible(self) -> bool:
        """Whether the bot is neither muted by a moderator nor in a stage's audience."""
        state = self.guild.me.voice
        return state is None or not (state.mute or state.suppress)

    async def join(self, channel: VocalChannel) -> Note | None:
        """Join a channel, and become a speaker if it is a stage.

        Returns a note for the member who called the bot, if there is one. Raises `Refusal`.
        """
        check_can_speak_in(channel)
        load_opus()
        async with self._lock:
            if not self.is_well:
                await self._settle()
            if self._wanted != channel.id or not self.is_well:
                self._wanted = channel.id
                await self._connect_within(JOIN_WITHIN_SECONDS, Reason.NO_VOICE_CONNECTION)
        return await become_speaker(channel)

    async def working_link(self) -> VoiceLink:
        """Return a working link. If the link is broken, reconnect first.

        Raises `Refusal` if the bot was disconnected, or reconnecting failed.
        """
        async with self._lock:
            before = self._link, self._wanted
            if not self.is_well:
                await self._settle()
            if not self.is_well:
                await self._connect_within(REPAIR_WITHIN_SECONDS, Reason.VOICE_CONNECTION_LOST)
            assert self._link is not None  # noqa: S101 - `_connect_within` raises otherwise
            self._follow_move()
            if self.channel is not None and before != (self._link, self._wanted):
                await become_speaker(self.channel)
            return self._link

    async def until_audible(self, *, unless: Callable[[], bool]) -> None:
        """Wait while the bot is muted or in a stage's audience, or until `unless` is true.

        Raises `Refusal` if that takes too long.
        """
        await _until(lambda: self.is_audible or unless(), within=AUDIBLE_WITHIN_SECONDS)
        if not self.is_audible and not unless():
            raise Refusal(Reason.CANNOT_BE_HEARD)

    async def give_up(self) -> Refusal:
        """Leave the channel after several failed links in a row; return the error to raise."""
        async with self._lock:
            refusal = await self._give_up(Reason.VOICE_CONNECTION_LOST)
            self._servers_echo = False  # maybe the links worked, and servers no longer echo
            return refusal

    def own_voice_state_changed(self, *, left: bool) -> None:
        """Record that Discord shows the bot in a channel, or in none if it has left."""
        if left:
            self._kick.shown_in_no_channel(self._link.close_code if self._link else None)
        else:
            self._kick.shown_in_channel()

    async def leave(self) -> None:
        """Leave the channel, if there is one, and do not reconnect."""
        self._wanted = None
        async with self._lock:
            await self._disconnect()

    def _follow_move(self) -> None:
        """If a moderator has moved the bot, make the new channel the wanted one."""
        if self._link is not None and self._link.client.channel is not None:
            self._wanted = self._link.client.channel.id

    async def _settle(self) -> None:
        """Wait for discord.py to complete a move. Raises `Refusal` if the bot was disconnected."""
        link = self._link
        if link is None:
            return
        await _until(lambda: not _is_unsettled(link), within=SETTLE_SECONDS)
        if self.is_well:
            await self._until_decryptable(link)
            return
        code = link.close_code
        if self._kick.happened or code == RATE_LIMITED:
            log.info("disconnected from voice", guild=self._guild_id, code=code)
            raise await self._give_up(
                Reason.VOICE_RATE_LIMITED if code == RATE_LIMITED else Reason.DISCONNECTED
            )
        log.warning("voice link lost", guild=self._guild_id, code=code)
        self._follow_move()

    async def _connect_within(self, seconds: float, otherwise: Reason) -> None:
        """Connect to the wanted channel, and retry for this many seconds.

        Raises `Refusal`, with the reason `otherwise` if no more specific reason is known.
        """
        deadline = time.monotonic() + seconds
        pause = FIRST_SECONDS_BETWEEN_TRIES
        await self._disconnect()
        while not await self._connect():
            if time.monotonic() + pause > deadline:
                raise await self._give_up(otherwise)
            await asyncio.sleep(pause)
            pause = min(2 * pause, MAX_SECONDS_BETWEEN_TRIES)

    async def _connect(self) -> bool:
        """Try once to make a link to the wanted channel; return whether that worked.

        Raises `Refusal` if the channel does not exist, or the bot was disconnected or rate limited.
        """
        channel = self.channel
        if channel is None:
            raise await self._give_up(Reason.DISCONNECTED)
        try:
            with self._kick.while_connecting():
                client = await voice_link.connect(channel, self._voice_class)
        except VOICE_ERRORS as error:
            log.warning("no voice connection", guild=self._guild_id, reason=repr(error))
            if isinstance(error, discord.ConnectionClosed) and error.code == RATE_LIMITED:
                raise await self._give_up(Reason.VOICE_RATE_LIMITED) from error
            if self._kick.happened:
                raise await self._give_up(Reason.DISCONNECTED) from error
            shown = self.guild.me.voice
            if self._kick.has_arrived and shown is not None and shown.channel is not None:
                self._wanted = shown.channel.id  # a moderator may have moved the bot
            await self._disconnect()
            return False
        current: object = client
        link = self._link = VoiceLink(
            client,
            is_current=lambda: self.guild.voice_client is current,
            echo_expected=self._servers_echo,
        )
        if self._kick.happened:
            raise await self._give_up(Reason.DISCONNECTED)
        if not client.is_connected():  # discord.py may give up without raising
            await self._disconnect()
            return False
        await self._until_decryptable(link)
        return True

    async def _until_decryptable(self, link: VoiceLink) -> None:
        """Wait until the others in the channel can decrypt speech, if there are others."""
        channel = link.client.channel
        if channel is not None and len(channel.voice_states) > 1:
            await _until(lambda: link.is_decryptable, within=KEY_SECONDS)

    async def _give_up(self, reason: Reason) -> Refusal:
        """Leave the channel, and do not reconnect; return the error to raise."""
        await self._disconnect()
        self._wanted = None
        return Refusal(reason)

    async def _disconnect(self) -> None:
        """End the connection, if there is one, and wait until Discord shows the bot in no channel.

        Without the wait, Discord's late event for leaving would end the next connection.
        """
        link, self._link = self._link, None
        if link is not None:
            self._servers_echo = link.next_should_echo
            link.close()
        guild = self._client.get_guild(self._guild_id)
        if guild is None:
            return
        client: Any = guild.voice_client or (link.client if link is not None else None)
        voice_link.cancel_reconnect(client)
        if client is not None and (client is guild.voice_client or client.is_connected()):
            await voice_link.disconnect(client)
        else:  # discord.py has already disconnected, without waiting for Discord
            await _until(lambda: guild.me.voice is None, within=DISCONNECT_SECONDS)
        if guild.me.voice is not None:
            await guild.change_voice_state(channel=None)


class KickDetector:
    """Tells whether a moderator disconnected the bot, or its connection failed.

    Discord shows the bot in no channel in both cases. The events before that tell them apart.

    Args:
        patience: The seconds after which discord.py gives up connecting, and leaves the channel.

    Attributes:
        happened: Whether a moderator has disconnected the bot since it last began to connect.
        has_arrived: Whether Discord has shown the bot in a channel since then.
    """

    def __init__(self, *, patience: float) -> None:
        self.happened = False
        self.has_arrived = False
        self._patience = patience
        self._connecting_since: float | None = None

    @contextmanager
    def while_connecting(self) -> Iterator[None]:
        """Reset, and record that discord.py is connecting while this block runs."""
        self.happened = self.has_arrived = False
        self._connecting_since = time.monotonic()
        try:
            yield
        finally:
            self._connecting_since = None

    def shown_in_channel(self) -> None:
        """Record that Discord shows the bot in a channel."""
        self.has_arrived = True

    def shown_in_no_channel(self, close_code: int | None) -> None:
        """Record that Discord shows the bot in no channel.

        Args:
            close_code: The close code of the connection's websocket; None while it is open, or if
                there is none. When a connection fails, discord.py leaves the channel too, but only
                after the websocket was closed.
        """
        if self._connecting_since is None:
            self.happened |= close_code in KICK_CODES
        elif self.has_arrived:  # otherwise the event belongs to the previous connection
            self.happened |= time.monotonic() - self._connecting_since < self._patience


def _is_unsettled(link: VoiceLink) -> bool:
    trouble = link.trouble()
    return trouble is not None and trouble.fault is Fault.UNSETTLED


async def _until(condition: Callable[[], bool], *, within: float) -> None:
    """Wait until a condition is true, for at most `within` seconds."""
    deadline = time.perf_counter() + within
    while not condition():
        if time.perf_counter() > deadline:
            return
        await asyncio.sleep(POLL_SECONDS)
