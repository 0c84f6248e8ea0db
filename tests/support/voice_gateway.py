"""How Discord's main gateway treats a bot in one guild's voice channels.

Discord answers the bot's requests to join and leave, moves it, throws it out, and forgets it. How
long that takes, and what it tells meanwhile, is the call's mode.
"""

from __future__ import annotations

import asyncio
import contextvars
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from simcord.backend import serializers
from simcord.enums import ChannelType

from tests.support.voice_server.call import Admission
from tests.support.voice_server.faults import Faults

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from simcord.builders import ChannelHandle, GuildHandle

    from tests.support.discord_server import Server
    from tests.support.voice_server.call import Call
    from tests.support.voice_server.session import Session

GATEWAY_SECONDS = 0.01


@dataclass
class VoiceGateway:
    """What Discord does with the bot in one guild.

    Attributes:
        handle: simcord's, of the guild.
        server: The guild's text channel, in which members type.
        call: The voice server's side of the guild: what is heard, and what goes wrong.
        is_open: Whether the bot's main gateway takes requests about this guild.
        held: The requests about this guild that are on their way while the whole network hangs;
            None while it doesn't.
    """

    handle: GuildHandle
    server: Server
    call: Call
    is_open: bool = field(default=True, init=False)
    held: list[Callable[[], Awaitable[None]]] | None = field(default=None, init=False)
    _news: asyncio.TimerHandle | None = field(default=None, init=False)

    @property
    def bot_is_in(self) -> int | None:
        """The id of the voice channel that Discord shows the bot in."""
        state = self._voice_states.get(self.call.bot_id)
        return state.channel_id if state is not None else None

    @property
    def _voice_states(self) -> dict[int, Any]:
        return self.server.env.backend.get_guild(self.handle.id).voice_states

    async def kick_bot(self, *, code: int = 4014) -> None:
        """A moderator disconnects the bot from voice; with 4022, the whole call ends.

        The main gateway's news may come later than the close code, as the call's mode says.
        """
        self.call.admission = None
        if self.call.mode.kick_news_after:
            if self._voice_states.pop(self.call.bot_id, None) is not None:
                self._news = soon(self.call.mode.kick_news_after, self.tell_that_bot_left)
        else:
            self._move_bot(None)
        if self.call.sessions:  # otherwise the bot hasn't reached the voice server yet
            await self.call.close(code)

    async def move_bot(self, channel: ChannelHandle) -> None:
        """A moderator drags the bot into another voice channel, which another server serves.

        Returns once Discord has announced that server.
        """
        old = self.call.sessions[-1]
        await self.call.new_address()
        self.call.has_dave = not self._is_stage(channel.id)
        self._move_bot(channel.id, suppress=self._is_stage(channel.id))
        await self._replace(old)

    async def change_region(self) -> None:
        """Somebody changes the channel's region: close code 4014, then another voice server."""
        old = self.call.sessions[-1]
        await self.call.new_address()
        await self._replace(old)

    async def move_server(self) -> None:
        """Discord moves the call to another voice server; then the old one stops answering.

        Returns once Discord has announced the new one.
        """
        await self.call.new_address()
        await self._announce(self.call.draw(self.call.mode.new_server_after))
        await asyncio.sleep(GATEWAY_SECONDS)
        await self.call.old_addresses_vanish()

    async def loses_network(
        self, seconds: float, *, breaks: bool = True, whole: bool = False
    ) -> None:
        """No voice server can be reached for a while.

        Args:
            seconds: How long.
            breaks: The connection breaks at once. Otherwise nothing comes by it meanwhile, and it
                goes on afterwards if the bot has kept it.
            whole: Nothing else can be reached either. The main gateway's connection only hangs:
                what the bot sends by it arrives afterwards, all at once and in order.
        """
        if whole:
            self.held = []
        before, session = self.call.faults, self.call.sessions[-1]
        self.call.faults = Faults(swallows_connections=True)
        self.call.stalls()
        if breaks:
            await self.call.close(1006)
        await asyncio.sleep(seconds)
        self.call.faults = before
        session.deaf = session.mute = session.dumb = False
        held, self.held = self.held or [], None
        for request in held:
            await request()

    async def reidentifies(
        self,
        *,
        gap: float = 0.5,
        is_gap_seen: bool = False,
        stub_seconds: float = 3.0,
        closes_after: float = 0.0,
    ) -> None:
        """The main gateway's session ends and cannot be resumed, so the bot identifies anew.

        Discord ends what belonged to the session: the bot is no longer in the voice channel, and
        the voice server closes with 4014. In READY the guild is a stub (`unavailable`, and
        `guild.me` is None), until GUILD_CREATE.

        Args:
            gap: Seconds without a main gateway, in which the bot's requests raise an error.
            is_gap_seen: discord.py knows meanwhile that it is away: for all guilds of this bot.
            stub_seconds: Seconds from READY to GUILD_CREATE.
            closes_after: Seconds from READY until the voice server closes the connection, if it is
                not the first to do something. Meanwhile it takes in no speech, and answers all the
                same.
        """
        self.is_open = False
        self._voice_states.pop(self.call.bot_id, None)
        self.call.admission = None
        if self.call.is_connected and not closes_after:
            await self.call.close(4014)
        (shard,) = self.server.bot.shards.values()
        shard._parent.ws.open = not is_gap_seen  # type: ignore[misc]
        await asyncio.sleep(gap)
        shard._parent.ws.open = True  # type: ignore[misc]
        if closes_after:
            old = self.call.sessions[-1]
            self.call.udp_dies(to_bot=False)
            closing = asyncio.create_task(self._close_late(old, closes_after))
        self._feed(
            "READY",
            {
                "v": 10,
                "user": dict(serializers.user_payload(self.server.env.backend.bot_user)),
                "guilds": [{"id": str(self.handle.id), "unavailable": True}],
                "session_id": secrets.token_hex(8),
                "resume_gateway_url": "wss://simcord.invalid",
                "shard": [0, 1],
                "application": {"id": str(self.server.env.backend.application_id), "flags": 0},
            },
        )
        self.is_open = True
        await asyncio.sleep(stub_seconds)
        backend = self.server.env.backend
        guild = backend.get_guild(self.handle.id)
        self._feed("GUILD_CREATE", dict(serializers.guild_create_payload(backend, guild)))
        if closes_after:
            await closing

    async def _close_late(self, session: Session, seconds: float) -> None:
        await asyncio.sleep(seconds)
        if session.is_open:
            await self.call.close(4014, session=session)

    def moderate_bot(self, **flags: bool) -> None:
        """A moderator mutes the bot, or sends it into a stage's audience, or lets it speak."""
        self._move_bot(self.bot_is_in, **flags)

    def forget_bot(self) -> None:
        """Discord drops the bot from the call, and sends no event."""
        self._voice_states.pop(self.call.bot_id, None)
        self.call.admission = None
        self.call.stalls()

    def send_voice_server(self, *, is_null: bool = False) -> None:
        """Tell the bot where the call is served, and with which token, unless it has left.

        Args:
            is_null: Tell that Discord has no server for the call yet.
        """
        state = self._voice_states.get(self.call.bot_id)
        if state is None:
            return
        token = secrets.token_hex(8)
        self.call.admission = Admission(state.channel_id or 0, state.session_id, token)
        where = {
            "guild_id": str(self.handle.id),
            "token": token,
            "endpoint": None if is_null else self.call.endpoint,
        }
        self.server.env.backend.emit("VOICE_SERVER_UPDATE", where)

    async def _replace(self, old: Session) -> None:
        """End a connection with 4014 and announce the next server, as slowly as the mode says."""
        wait = self.call.draw(self.call.mode.new_server_after)
        if wait:
            await self.call.close(4014, session=old)
            await self._announce(wait)
        else:
            await self._announce(wait)
            await asyncio.sleep(GATEWAY_SECONDS)
            await self.call.close(4014, session=old)

    async def _announce(self, wait: float) -> None:
        """Announce another server after so many seconds, in the middle of which there is none."""
        await asyncio.sleep(wait / 2)
        if self.call.mode.null_endpoint_first:
            self.send_voice_server(is_null=True)
        await asyncio.sleep(wait / 2)
        self.send_voice_server()

    def answer_voice_request(self, channel_id: int | None, **flags: bool) -> None:
        """Do what Discord does when the bot asks to be in a voice channel, or in none.

        A bot that is in that channel already is told no new server, and one that is in none is told
        nothing if it asks to leave. A bot that joins a stage is in its audience.
        """
        before = self.bot_is_in
        self._hurry()
        if channel_id is None and before is None:
            return
        if channel_id is not None and channel_id != before:
            flags["suppress"] = self._is_stage(channel_id)
            self.call.has_dave = not self._is_stage(channel_id)
        self._move_bot(channel_id, **flags)
        if channel_id is None:
            self.call.admission = None
        elif channel_id != before:
            mode = self.call.mode
            if mode.null_endpoint_first:
                self.send_voice_server(is_null=True)
                soon(self.call.draw(mode.new_server_after), self.send_voice_server)
            else:
                self.send_voice_server()

    def _is_stage(self, channel_id: int) -> bool:
        return self.server.env.backend.get_channel(channel_id).type == ChannelType.STAGE_VOICE

    def tell_that_bot_left(self) -> None:
        """The news that a moderator has disconnected the bot, which is out already."""
        state = {
            "guild_id": str(self.handle.id),
            "channel_id": None,
            "user_id": str(self.call.bot_id),
            "session_id": secrets.token_hex(8),
            "deaf": False,
            "mute": False,
            "self_deaf": True,
            "self_mute": False,
            "self_video": False,
            "suppress": False,
            "request_to_speak_timestamp": None,
        }
        self.server.env.backend.emit("VOICE_STATE_UPDATE", state)

    def _hurry(self) -> None:
        """Tell the news of a kick now, if it is due: a gateway's events come in order."""
        news, self._news = self._news, None
        if (
            news is not None
            and not news.cancelled()
            and news.when() > asyncio.get_running_loop().time()
        ):
            news.cancel()
            self.tell_that_bot_left()

    def _feed(self, event: str, payload: dict[str, Any]) -> None:
        (shard,) = self.server.bot.shards.values()
        shard._parent.ws._gateway.feed(event, payload)  # type: ignore[attr-defined]

    def _move_bot(self, channel_id: int | None, **flags: bool) -> None:
        backend = self.server.env.backend
        backend.set_voice_state(self.handle.id, self.call.bot_id, channel_id, **flags)


def soon(seconds: float, work: Callable[[], Any]) -> asyncio.TimerHandle:
    """Call a function after the time that Discord takes for it."""
    loop = asyncio.get_running_loop()
    return loop.call_later(seconds, work, context=contextvars.Context())
