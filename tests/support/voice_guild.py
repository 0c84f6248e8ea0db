"""A guild whose voice channels lead to a loopback voice server.

simcord simulates Discord without voice, and with a clock of its own. This module adds:
the bot's requests to join and leave voice channels are answered as Discord answers them, the voice
gateway's websocket reaches the loopback server, and time is real.
"""

from __future__ import annotations

import asyncio
import contextvars
import secrets
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
from simcord import _dpy_internals, _runtime
from simcord.enums import ChannelType

from backend.contract import VoicePrompt
from tests.support.discord_server import Answer, Member, Server
from tests.support.marked_speech import item_text
from tests.support.voice_server.call import Admission
from tests.support.voice_server.region import VoiceRegion

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import discord
    from simcord.actors import MemberActor
    from simcord.builders import ChannelHandle, GuildHandle
    from simcord.env import Env

    from tests.support.voice_server.call import Call

GATEWAY_SECONDS = 0.01
POLL_SECONDS = 0.01

SPOKEN = "has spoken in"
"""What the bot tells a member whose speech was heard."""


class Speaker(Member):
    """A member with a saved voice, who uses `/say` for marked speech.

    Speakers can act concurrently: they wait for the lock `turns`.
    """

    def __init__(self, server: Server, actor: MemberActor, turns: asyncio.Lock) -> None:
        super().__init__(server, actor)
        self._turns = turns

    async def goes_to(self, channel: ChannelHandle) -> None:
        """Enter a voice channel."""
        async with self._turns:
            await self.actor.join_voice(channel)

    async def saves_voice(self) -> None:
        """Save a voice, without the upload that `/clone` needs."""
        library, backend = self.server.bot.library, self.server.bot.studio.backend
        await self.consents()
        prompt = VoicePrompt(data=b"300", model_id=backend.model_id)
        await library.save(
            self.actor.id,
            self.actor.name,
            clip_flac=b"fLaC that nobody decodes here",
            clip_seconds=12.0,
            transcript="The quick brown fox.",
            language="English",
            prompt=prompt,
        )

    async def says(self, item: int, seconds: float) -> Answer:
        """Use `/say` for an item of marked speech; return at once, with the answer to come."""
        async with self._turns:
            return await self.types("say", text=item_text(item, seconds), where="voice")


@dataclass
class VoiceGuild:
    """One guild with two voice channels.

    Attributes:
        handle: simcord's, of the guild.
        server: The guild's text channel, in which members type.
        lounge: A voice channel.
        studio: Another one.
        call: The voice server's side of the guild: what is heard, and what goes wrong.
        turns: Held by the member who acts, as simcord lets one member act at a time.
    """

    handle: GuildHandle
    server: Server
    lounge: ChannelHandle
    studio: ChannelHandle
    call: Call
    turns: asyncio.Lock

    @property
    def channel(self) -> discord.VoiceChannel:
        """The lounge, as the bot sees it."""
        found = self.server.bot.get_channel(self.lounge.id)
        assert found is not None
        return found  # type: ignore[return-value]

    @property
    def bot_is_in(self) -> int | None:
        """The id of the voice channel that Discord shows the bot in."""
        state = self._voice_states.get(self.call.bot_id)
        return state.channel_id if state is not None else None

    @property
    def _voice_states(self) -> dict[int, Any]:
        return self.server.env.backend.get_guild(self.handle.id).voice_states

    def member(self, name: str) -> Member:
        """Add a member to the guild."""
        return Member(self.server, self.handle.add_member(self.server.env.create_user(name)))

    async def speaker(self, name: str) -> Speaker:
        """Add a member with a saved voice to the guild and its lounge."""
        async with self.turns:
            speaker = Speaker(self.server, self.member(name).actor, self.turns)
        await speaker.goes_to(self.lounge)
        await speaker.saves_voice()
        return speaker

    async def kick_bot(self, *, code: int = 4014) -> None:
        """A moderator disconnects the bot from voice; with 4022, the whole call ends."""
        self._move_bot(None)
        self.call.admission = None
        await self.call.close(code)

    async def move_bot(self, channel: ChannelHandle) -> None:
        """A moderator drags the bot into another voice channel, which another server serves."""
        await self.call.new_address()
        self.call.has_dave = not self._is_stage(channel.id)
        self._move_bot(channel.id, suppress=self._is_stage(channel.id))
        self.send_voice_server()
        await self.call.close(4014)

    async def move_server(self) -> None:
        """Discord moves the call to another voice server; the old one stops answering."""
        await self.call.new_address()
        self.send_voice_server()
        await asyncio.sleep(GATEWAY_SECONDS)
        await self.call.old_addresses_vanish()

    def moderate_bot(self, **flags: bool) -> None:
        """A moderator mutes the bot, or sends it into a stage's audience, or lets it speak."""
        self._move_bot(self.bot_is_in, **flags)

    def forget_bot(self) -> None:
        """Discord drops the bot from the call, and sends no event."""
        self._voice_states.pop(self.call.bot_id, None)
        self.call.admission = None
        self.call.stalls()

    def send_voice_server(self) -> None:
        """Tell the bot where the call is served, and with which token, unless it has left."""
        state = self._voice_states.get(self.call.bot_id)
        if state is None:
            return
        token = secrets.token_hex(8)
        self.call.admission = Admission(state.channel_id or 0, state.session_id, token)
        where = {
            "guild_id": str(self.handle.id),
            "token": token,
            "endpoint": self.call.endpoint,
        }
        self.server.env.backend.emit("VOICE_SERVER_UPDATE", where)

    def answer_voice_request(self, channel_id: int | None, **flags: bool) -> None:
        """Do what Discord does when the bot asks to be in a voice channel, or in none.

        A bot that is in that channel already is told no new server. A bot that joins a stage is in
        its audience.
        """
        before = self.bot_is_in
        if channel_id is not None and channel_id != before:
            flags["suppress"] = self._is_stage(channel_id)
            self.call.has_dave = not self._is_stage(channel_id)
        self._move_bot(channel_id, **flags)
        if channel_id is None:
            self.call.admission = None
        elif channel_id != before:
            self.send_voice_server()

    def _is_stage(self, channel_id: int) -> bool:
        return self.server.env.backend.get_channel(channel_id).type == ChannelType.STAGE_VOICE

    def _move_bot(self, channel_id: int | None, **flags: bool) -> None:
        backend = self.server.env.backend
        backend.set_voice_state(self.handle.id, self.call.bot_id, channel_id, **flags)


@dataclass
class VoiceWorld:
    """A simulated Discord in which the bot can speak.

    Attributes:
        guilds: The guilds.
        region: The voice servers of their calls.
    """

    guilds: list[VoiceGuild]
    region: VoiceRegion


@asynccontextmanager
async def open_voice(
    server: Server, *, guilds: int = 1, region: VoiceRegion | None = None
) -> AsyncIterator[VoiceWorld]:
    """Give a simulated Discord a voice server, and guilds besides the one of `server`.

    From then on time is real, and a typed command returns at once, before the bot is done.

    Args:
        server: A simulated Discord in which the bot runs.
        guilds: How many guilds with voice channels it gets.
        region: The voice servers of their calls; by default in this process.
    """
    bot = server.bot
    _restore_time(server.env)
    async with region or VoiceRegion() as serving, aiohttp.ClientSession() as http:
        turns = asyncio.Lock()
        made = [await _make_guild(server, serving, turns, number) for number in range(guilds)]
        await asyncio.sleep(0)
        _answer_voice_requests(bot, made)
        _let_voice_gateway_through(bot, http)
        yield VoiceWorld(made, serving)
        await bot.close()


async def _make_guild(
    server: Server, region: VoiceRegion, turns: asyncio.Lock, number: int
) -> VoiceGuild:
    bot = server.bot
    assert bot.user is not None
    handle = server.env.create_guild(f"Guild {number}")
    text = handle.create_text_channel("text")
    here = Server(server.env, bot, server.speech, text)
    lounge, studio = (handle.create_voice_channel(name) for name in ("lounge", "studio"))
    call = await region.open_call(handle.id, bot_id=bot.user.id)
    return VoiceGuild(handle, here, lounge, studio, call, turns)


async def last_word(answer: Answer, *, within: float = 60.0) -> str | None:
    """What a member is told once the bot is done with a `/say`; None if it is not done in time.

    Until then the message is empty, or has a button.
    """

    def is_done() -> bool:
        message = answer.private
        return message is not None and bool(message.content) and not message.components

    try:
        await eventually(is_done, within=within)
    except TimeoutError:
        return None
    return answer.told


async def eventually(is_true: Callable[[], object], *, within: float = 5.0) -> None:
    """Wait until a condition is true; raise `TimeoutError` if that takes too long."""
    async with asyncio.timeout(within):
        while not is_true():  # noqa: ASYNC110 - the condition has no event
            await asyncio.sleep(POLL_SECONDS)


def _restore_time(env: Env) -> None:
    """Take simcord's clocks and its accounting of the bot's tasks out of the event loop.

    Both assume that nothing outside of the loop takes time. Events still reach the bot, and its
    errors are still collected.
    """
    _dpy_internals.release_clocks(env)
    _runtime._restore_loop(env)


def _answer_voice_requests(bot: discord.AutoShardedClient, made: list[VoiceGuild]) -> None:
    """Give simcord's gateway the command that it lacks: changing the bot's voice state."""
    guilds = {guild.handle.id: guild for guild in made}

    async def voice_state(
        guild_id: int, channel_id: int | None, self_mute: bool = False, self_deaf: bool = False
    ) -> None:
        guild = guilds[guild_id]
        flags = {"self_mute": self_mute, "self_deaf": self_deaf}
        _soon(lambda: guild.answer_voice_request(channel_id, **flags))

    for shard in bot.shards.values():
        shard._parent.ws.voice_state = voice_state  # type: ignore[method-assign]


def _let_voice_gateway_through(bot: discord.Client, http: aiohttp.ClientSession) -> None:
    """Let discord.py's voice gateway reach the loopback server, which speaks no TLS."""

    async def ws_connect(url: str, *, compress: int = 0) -> aiohttp.ClientWebSocketResponse:
        return await http.ws_connect(
            url.replace("wss://", "ws://", 1),
            compress=compress,
            timeout=aiohttp.ClientWSTimeout(ws_close=30.0),  # as discord.py has it
            max_msg_size=0,
            autoclose=False,
        )

    bot.http.ws_connect = ws_connect  # type: ignore[method-assign]


def _soon(work: Callable[[], Any]) -> None:
    """Call a function after the time that Discord takes to answer."""
    loop = asyncio.get_running_loop()
    loop.call_later(GATEWAY_SECONDS, work, context=contextvars.Context())
