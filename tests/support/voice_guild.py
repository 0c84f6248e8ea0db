"""A guild whose voice channels lead to a loopback voice server.

simcord simulates Discord without voice, and with a clock of its own. This module adds:
the bot's requests to join and leave voice channels are answered as Discord answers them, the voice
gateway's websocket reaches the loopback server, and time is real.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import aiohttp
from simcord import _dpy_internals, _runtime

from tests.support.discord_server import Answer, Member, Server
from tests.support.marked_speech import item_text
from tests.support.voice_gateway import GATEWAY_SECONDS, VoiceGateway, soon
from tests.support.voice_server.region import VoiceRegion

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import discord
    from simcord.actors import MemberActor
    from simcord.builders import ChannelHandle
    from simcord.env import Env


POLL_SECONDS = 0.05
LAST_WORD_POLL_SECONDS = 0.15
"""Many guilds wait for their last word at once, and each look takes a while."""

IN_ORDER_SECONDS = 0.001

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

    async def says(self, item: int, seconds: float) -> Answer:
        """Use `/say` for an item of marked speech; return at once, with the answer to come."""
        async with self._turns:
            return await self.types("say", text=item_text(item, seconds), where="voice")


@dataclass
class VoiceGuild(VoiceGateway):
    """One guild with two voice channels.

    Attributes:
        lounge: A voice channel.
        studio: Another one.
        turns: Held by the member who acts, as simcord lets one member act at a time.
    """

    lounge: ChannelHandle
    studio: ChannelHandle
    turns: asyncio.Lock

    @property
    def channel(self) -> discord.VoiceChannel:
        """The lounge, as the bot sees it."""
        found = self.server.bot.get_channel(self.lounge.id)
        assert found is not None
        return found  # type: ignore[return-value]

    def member(self, name: str) -> Member:
        """Add a member to the guild."""
        return Member(self.server, self.handle.add_member(self.server.env.create_user(name)))

    async def send_bot_away(self) -> None:
        """Somebody who may move members uses `/leave`, and the bot leaves."""
        async with self.turns:
            moderator = self.member("moderator")
            await moderator.may(self.lounge, move_members=True)
            answer = await moderator.types("leave")
        told = await last_word(answer)
        assert (told or "").startswith("I left"), told

    async def speaker(self, name: str) -> Speaker:
        """Add a member with a saved voice to the guild and its lounge."""
        async with self.turns:
            speaker = Speaker(self.server, self.member(name).actor, self.turns)
        await speaker.goes_to(self.lounge)
        await speaker.saves_voice()
        return speaker


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
    return VoiceGuild(handle, here, call, lounge, studio, turns)


async def last_word(answer: Answer, *, within: float = 60.0) -> str | None:
    """What a member is told once the bot is done with a `/say`; None if it is not done in time.

    Until then the message is empty, or has a button.
    """

    def is_done() -> bool:
        message = answer.private
        return message is not None and bool(message.content) and not message.components

    try:
        await eventually(is_done, within=within, every=LAST_WORD_POLL_SECONDS)
    except TimeoutError:
        return None
    return answer.told


async def eventually(
    is_true: Callable[[], object], *, within: float = 30.0, every: float = POLL_SECONDS
) -> None:
    """Wait until a condition is true; raise `TimeoutError` if that takes too long.

    By default there is time for a handshake that fails after ten seconds, and for another one.
    """
    async with asyncio.timeout(within):
        while not is_true():  # noqa: ASYNC110 - the condition has no event
            await asyncio.sleep(every)


async def keep_reading(guild: VoiceGuild) -> None:
    """Let others talk, so that discord.py notices when it gets another socket.

    Its reader waits on the old one for up to 30 s, unless something has come by UDP meanwhile
    (2.7.1, `SocketReader._do_run`).
    """
    guild.call.somebody_talks = True
    await asyncio.sleep(0.5)


def _restore_time(env: Env) -> None:
    """Take simcord's clocks and its accounting of the bot's tasks out of the event loop.

    Both assume that nothing outside of the loop takes time. Events still reach the bot, and its
    errors are still collected.
    """
    _dpy_internals.release_clocks(env)
    _runtime._restore_loop(env)


def _answer_voice_requests(bot: discord.AutoShardedClient, made: list[VoiceGuild]) -> None:
    """Give simcord's gateway the command that it lacks: changing the bot's voice state.

    Discord answers requests in order.
    """
    guilds = {guild.handle.id: guild for guild in made}
    answered_at: defaultdict[int, float] = defaultdict(float)

    async def voice_state(
        guild_id: int, channel_id: int | None, self_mute: bool = False, self_deaf: bool = False
    ) -> None:
        guild = guilds[guild_id]
        if guild.held is not None:
            guild.held.append(
                partial(voice_state, guild_id, channel_id, self_mute=self_mute, self_deaf=self_deaf)
            )
            return
        if not guild.is_open:
            raise ConnectionResetError("Cannot write to closing transport")  # as aiohttp does
        flags = {"self_mute": self_mute, "self_deaf": self_deaf}
        now = time.monotonic()
        due = now + max(GATEWAY_SECONDS, guild.call.round_trip())
        answered_at[guild_id] = max(due, answered_at[guild_id] + IN_ORDER_SECONDS)
        delay = answered_at[guild_id] - now
        soon(delay, lambda: guild.answer_voice_request(channel_id, **flags))

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
