"""The bot's connection to the voice channels of one guild: join, repair, follow moves, leave.

`link_state.py` describes the states that a connection can be in. This file finds out the facts, and
acts on the state.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import discord
import structlog

from bot.errors import Reason, Refusal
from bot.playback import voice_link
from bot.playback.link_state import (
    RATE_LIMITED,
    UNEXPLAINED_CODES,
    Departures,
    Facts,
    LinkState,
    judge,
)
from bot.playback.main_gateway import MainGateway
from bot.playback.opus import load_opus
from bot.playback.permissions import VOICE_ERRORS, VocalChannel, become_speaker, check_can_speak_in
from bot.playback.voice_client import VoiceClient
from bot.playback.voice_link import VoiceLink
from bot.playback.waiting import POLL_SECONDS, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.errors import Note

log = structlog.get_logger(__name__)

JOIN_WITHIN_SECONDS = 20.0
REPAIR_WITHIN_SECONDS = 45.0
"""How long connecting is retried: when a member calls the bot, and after a lost connection."""

GUILD_WITHIN_SECONDS = 30.0
"""How long to wait until the main gateway sends the guild."""

GATEWAY_WITHIN_SECONDS = 60.0
"""If the main gateway was away for longer than this, what waits is out of date. It ends when the
gateway is back. Before that, nobody could be told."""

KEY_WITHIN_SECONDS = 15.0
"""How long to wait until the others in the channel can decrypt speech. Then the bot joins again."""

LEAVE_WITHIN_SECONDS = 2.0
GONE_WITHIN_SECONDS = 5.0
"""How long to wait until Discord shows the bot in no channel: to stay out, and to join again."""

NEWS_WITHIN_SECONDS = 3.0
"""How long to wait for the news that a moderator has disconnected the bot, if its handshake is
closed with a code that may mean so."""

AUDIBLE_WITHIN_SECONDS = 120.0
FIRST_SECONDS_BETWEEN_TRIES = 0.5
MAX_SECONDS_BETWEEN_TRIES = 8.0


class Connection:
    """Keeps the bot in one of a guild's voice channels, until it should leave.

    discord.py's own reconnecting is switched off (2.7.1, `VoiceConnectionState._poll_voice_ws`).
    After a drop it sleeps before it connects again, and goes on sending speech to the dead session
    meanwhile. Moves of the call are left to discord.py.

    Args:
        client: The bot.
        guild_id: The guild.
        voice_class: The class of voice clients: `voice_client.VoiceClient`, or the demo's.
    """

    def __init__(
        self, client: discord.Client, guild_id: int, *, voice_class: Callable[..., Any]
    ) -> None:
        self._client = client
        self._guild_id = guild_id
        self._gateway = MainGateway(client, guild_id)
        self._voice_class = voice_class
        self._wanted: int | None = None  # the id of the channel that the bot should be in
        self._link: VoiceLink | None = None
        self._session: discord.Guild | None = None  # the guild as it was when the bot last joined
        self._speaks_in: tuple[VoiceLink | None, int | None] = (None, None)  # asked to, on a stage
        self._departures = Departures()
        self._is_removed = False
        self._stays_out = False  # told so since the last `join`, by a call or by a moderator
        self._has_arrived = False  # in a channel, by the main gateway's last news
        self._is_connecting = False
        self._lock = asyncio.Lock()

    @property
    def guild(self) -> discord.Guild:
        """The guild. Raises `Refusal` if the bot is no longer in it."""
        return self._gateway.guild

    @property
    def channel(self) -> VocalChannel | None:
        """The channel that the bot should be in. It changes if a moderator moves the bot."""
        channel = self._client.get_channel(self._wanted) if self._wanted is not None else None
        return channel if isinstance(channel, VocalChannel) else None

    @property
    def is_well(self) -> bool:
        """Whether speech can be sent."""
        return self.state is LinkState.CONNECTED

    @property
    def is_audible(self) -> bool:
        """Whether the bot is neither muted by a moderator nor in a stage's audience."""
        state = self._shown
        return state is None or not (state.mute or state.suppress)

    @property
    def state(self) -> LinkState:
        """The connection's state. Without any connection it is LOST, or WAITING for the gateway."""
        return judge(self._facts())

    async def join(self, channel: VocalChannel) -> Note | None:
        """Join a channel, and become a speaker if it is a stage.

        Returns a note for the member who called the bot, if there is one. Raises `Refusal`.
        """
        self._stays_out = False
        async with self._lock:
            state = await self._settle()
            if self._stays_out:  # told to leave meanwhile
                raise await self._give_up(Reason.DISCONNECTED)
            self._is_removed = False  # that was before
            known = self._client.get_channel(channel.id)  # as the main gateway has last sent it
            channel = known if isinstance(known, VocalChannel) else channel
            check_can_speak_in(channel)
            load_opus()
            if self._wanted != channel.id or state is not LinkState.CONNECTED:
                self._wanted = channel.id
                await self._establish(JOIN_WITHIN_SECONDS, Reason.NO_VOICE_CONNECTION, anew=True)
            self._speaks_in = self._link, self._wanted
        return await become_speaker(channel)

    async def working_link(self) -> VoiceLink:
        """Return a link that can be played on. If the connection is lost, join again first.

        Raises `Refusal` if the bot was disconnected, or could not join again.
        """
        async with self._lock:
            link = await self._establish(REPAIR_WITHIN_SECONDS, Reason.VOICE_CONNECTION_LOST)
            self._follow()
            if self.channel is not None and self._speaks_in != (link, self._wanted):
                self._speaks_in = link, self._wanted
                await become_speaker(self.channel)
            return link

    async def join_again(self) -> None:
        """Leave the channel and join it again. Raises `Refusal` if that fails."""
        async with self._lock:
            await self._establish(REPAIR_WITHIN_SECONDS, Reason.VOICE_CONNECTION_LOST, anew=True)

    async def until_audible(self, *, unless: Callable[[], bool]) -> None:
        """Wait while the bot is muted or in a stage's audience, or until `unless` is true.

        Raises `Refusal` if that takes too long.
        """
        if not await until(lambda: self.is_audible or unless(), within=AUDIBLE_WITHIN_SECONDS):
            raise Refusal(Reason.CANNOT_BE_HEARD)

    async def give_up(self) -> Refusal:
        """Leave the channel after several failed links in a row; return the error to raise."""
        async with self._lock:
            return await self._give_up(Reason.VOICE_CONNECTION_LOST)

    def own_voice_state_changed(self, *, left: bool) -> bool:
        """Take in that Discord shows the bot in a channel, or in none if it has left.

        Returns whether a moderator has disconnected it. Then it also joins no channel for those
        who called it before.
        """
        if not left:
            self._has_arrived = True
            self._departures.arrive()
            if self._link is not None:
                self._follow()
            return False
        was_there, self._has_arrived = self._has_arrived, False
        if self._departures.confirm(time.monotonic()) or not was_there:
            return False
        if self._is_connecting or (self._link is not None and not self._facts().has_failed):
            self._is_removed = self._stays_out = True
            return True
        return False

    def note_listeners(self) -> None:
        """Look again who listens: somebody has entered a voice channel or left one."""
        if self._link is not None:
            self._link.note_listeners()

    def stay_out(self) -> None:
        """Join no channel any more, until `join` is called again; `leave` does the rest."""
        self._wanted, self._stays_out = None, True

    async def leave(self) -> None:
        """Leave the channel, if there is one, unless `join` was called since `stay_out`."""
        async with self._lock:
            if self._stays_out:
                await self._disconnect(within=LEAVE_WITHIN_SECONDS)

    @property
    def _shown(self) -> discord.VoiceState | None:
        return self._gateway.shown

    def _facts(self) -> Facts:
        link, guild, knows_guild = self._link, self.guild, self._gateway.knows_guild
        if link is None:
            return Facts(is_removed=self._is_removed, knows_guild=knows_guild, is_current=False)
        current: object = link.client
        return Facts(
            is_removed=self._is_removed,
            knows_guild=knows_guild,
            same_session=guild is self._session,
            is_shown=self._shown is not None,
            is_current=guild.voice_client is current,
            is_connected=link.client.is_connected(),
            is_moving=link.is_moving,
            close_code=link.close_code,
            unchanged_seconds=link.unchanged_seconds,
            unanswered_seconds=link.unanswered_seconds,
        )

    def _follow(self) -> None:
        """If a moderator has moved the bot, make the new channel the wanted one.

        A bot that should leave is wanted in none, although Discord may still show it in one.
        """
        shown = self._shown
        if self._wanted is not None and shown is not None and shown.channel is not None:
            self._wanted = shown.channel.id

    async def _settle(self) -> LinkState:
        """Wait until the connection is neither CHANGING nor WAITING; return its state then.

        Raises `Refusal` if the main gateway was away for too long, or doesn't send the guild.
        """
        began = time.monotonic()
        stub_since: float | None = None  # the gateway is open, and has yet to send the guild
        is_sure = self._link is None
        while True:
            state, now = self.state, time.monotonic()
            if state is LinkState.WAITING and not self._gateway.is_open:
                stub_since = None
            elif state is LinkState.WAITING:
                stub_since = stub_since or now
                was_away_for_long = stub_since - began > GATEWAY_WITHIN_SECONDS
                if was_away_for_long or now - stub_since > GUILD_WITHIN_SECONDS:
                    raise await self._give_up(Reason.VOICE_CONNECTION_LOST)
            elif state is LinkState.LOST and not is_sure:
                is_sure = True  # next time: the news of a moderator may be on its way here
            elif state is not LinkState.CHANGING:
                return state
            await asyncio.sleep(POLL_SECONDS)

    async def _establish(
        self, seconds: float, otherwise: Reason, *, anew: bool = False
    ) -> VoiceLink:
        """Return a link on which speech is sent and understood; retry for so many seconds.

        Raises `Refusal`, with the reason `otherwise` if no more specific reason is known.

        Args:
            seconds: After that, no further try begins.
            otherwise: The reason.
            anew: Leave first, whatever the state.
        """
        deadline = time.monotonic() + seconds
        pause = 0.0
        while True:
            state = LinkState.LOST if anew and not self._is_removed else await self._settle()
            anew = False
            if state is LinkState.REMOVED or self._wanted is None:  # or told to leave meanwhile
                raise await self._give_up(Reason.DISCONNECTED)
            if state is LinkState.BARRED:
                raise await self._give_up(Reason.VOICE_RATE_LIMITED)
            link = self._link
            if state is LinkState.CONNECTED and link is not None:
                if link.is_understood:
                    return link
                if await until(
                    lambda: (
                        link.is_understood  # noqa: B023 - awaited here
                        or not self.is_well
                        or self._wanted is None
                    ),
                    within=KEY_WITHIN_SECONDS,
                ):
                    continue
            if pause and time.monotonic() + pause > deadline:
                raise await self._give_up(otherwise)
            log.info("connecting to voice", guild=self._guild_id, state=state.name)
            await self._disconnect(within=GONE_WITHIN_SECONDS)
            await asyncio.sleep(pause)
            pause = min(2 * pause, MAX_SECONDS_BETWEEN_TRIES) or FIRST_SECONDS_BETWEEN_TRIES
            if await self._settle() is LinkState.LOST:
                await self._connect()

    async def _connect(self) -> None:
        """Try once to make a link to the wanted channel.

        Raises `Refusal` if the channel does not exist, or the bot is rate limited.
        """
        channel = self.channel
        if channel is None:
            raise await self._give_up(Reason.DISCONNECTED)
        if self.guild is not self._session:
            self._departures.forget()
            self._has_arrived = False
        self._session = self.guild
        self._departures.join(time.monotonic())
        self._is_removed = False
        self._is_connecting = True
        try:
            client = await voice_link.connect(
                channel,
                self._voice_class,
                departures=self._departures,
                is_shown=lambda: self._shown is not None,
            )
        except VOICE_ERRORS as error:
            log.warning("no voice connection", guild=self._guild_id, reason=repr(error))
            code = error.code if isinstance(error, discord.ConnectionClosed) else None
            if code == RATE_LIMITED:
                raise await self._give_up(Reason.VOICE_RATE_LIMITED) from error
            if code in UNEXPLAINED_CODES:
                # Not `_shown`, which changes a moment before the event tells why.
                await until(lambda: not self._has_arrived, within=NEWS_WITHIN_SECONDS)
            if not self._is_removed:
                self._follow()
        else:
            if client.is_connected():  # discord.py may give up without raising
                self._link = VoiceLink(client)
                self._departures.complete(time.monotonic())
        finally:
            self._is_connecting = False

    async def _give_up(self, reason: Reason) -> Refusal:
        """Leave the channel, and do not join again; return the error to raise."""
        log.info("stays out of voice", guild=self._guild_id, reason=str(reason))
        await self._disconnect(within=LEAVE_WITHIN_SECONDS)
        self._wanted = None
        self._is_removed = False
        return Refusal(reason)

    async def _disconnect(self, *, within: float) -> None:
        """End the connection, if there is one, and wait until Discord shows the bot in no channel.

        Without the wait, Discord's late event for leaving would end the next connection.
        """
        link, self._link = self._link, None
        if link is not None:
            link.close()
        guild = self._client.get_guild(self._guild_id)
        if guild is None:
            return
        client: Any = guild.voice_client
        if client is not None:
            if not isinstance(
                client, VoiceClient
            ):  # the demo's, which asks to leave without a word
                self._departures.ask(time.monotonic(), is_shown=self._shown is not None)
            await voice_link.disconnect(client)
        elif self._departures.ask(time.monotonic(), is_shown=self._shown is not None):
            await self._ask_to_leave(guild)
        if not await until(lambda: self._shown is None, within=within):
            self._departures.ask(time.monotonic(), is_shown=True)
            await self._ask_to_leave(guild)

    async def _ask_to_leave(self, guild: discord.Guild) -> None:
        """Ask Discord to show the bot in no channel, for which there is no client that could."""
        try:
            await guild.change_voice_state(channel=None)
        except VOICE_ERRORS as error:
            log.debug("could not ask to leave", reason=repr(error))
            self._departures.take_back()
