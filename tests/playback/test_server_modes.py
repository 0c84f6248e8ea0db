"""What the voice server does in its modes, as seen from discord.py's own voice client."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING

import discord
import pytest

from tests.support.stock_client import open_stock, play, plays
from tests.support.voice_guild import eventually
from tests.support.voice_server.modes import MODES, Mode, Pings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.voice_guild import VoiceGuild

pytestmark = pytest.mark.realtime

PING, PONG = "1337cafe", "1337f00d"


@pytest.fixture
async def guild() -> AsyncIterator[VoiceGuild]:
    async with open_stock(guilds=1) as world:
        yield world.guilds[0]


class Socket:
    """The UDP socket of a voice client: sends pings, and notes what comes."""

    def __init__(self, client: discord.VoiceClient) -> None:
        self.received: list[bytes] = []
        self._state = client._connection
        self._state.add_socket_listener(self.received.append)

    @property
    def kinds(self) -> Counter[int | str]:
        """How often each kind of packet came: RTP and RTCP by their type, others by their head."""
        return Counter(
            data[:4].hex() if len(data) == 8 else data[1] for data in list(self.received)
        )

    async def pings(self, *counters: int, pause: float = 0.02) -> None:
        for counter in counters:
            self._state.send_packet(bytes.fromhex(PING) + counter.to_bytes(4, "little"))
            await asyncio.sleep(pause)


async def connects(guild: VoiceGuild) -> Socket:
    return Socket(await guild.channel.connect(cls=discord.VoiceClient, timeout=5.0))


@pytest.mark.parametrize(
    ("mode", "answers"),
    [
        ("no udp", {}),
        ("reports", {}),
        ("pong", {PONG: 10}),
        ("echo", {PING: 10}),
        ("one in five", {PONG: 2}),
        ("not by the next", {PONG: 10}),
    ],
)
async def test_native_pings_are_answered(
    guild: VoiceGuild, mode: str, answers: dict[str, int]
) -> None:
    guild.call.mode = MODES[mode]
    socket = await connects(guild)
    await socket.pings(*range(500, 510))
    await asyncio.sleep(0.2)
    assert socket.kinds == answers
    if answers:
        assert int.from_bytes(socket.received[-1][4:], "little") in {509, 504}
    assert len(guild.call.sessions[-1].pings) == 10


async def test_plain_counters_are_never_answered(guild: VoiceGuild) -> None:
    guild.call.mode = Mode(pings=Pings.ECHO)
    socket = await connects(guild)
    for plain in (bytes(8), (7).to_bytes(8, "big"), bytes.fromhex(PONG) + bytes(4)):
        socket._state.send_packet(plain)
    await asyncio.sleep(0.2)
    assert not socket.received
    assert guild.call.sessions[-1].strange_pings == 3


async def test_answers_stop(guild: VoiceGuild) -> None:
    guild.call.mode = Mode(pings=Pings.PONG, stops_answering_after=0.3)
    socket = await connects(guild)
    await socket.pings(1, 2)
    await asyncio.sleep(0.5)
    await socket.pings(3, 4)
    await asyncio.sleep(0.2)
    assert socket.kinds == {PONG: 2}


async def test_the_next_server_does_not_answer(guild: VoiceGuild) -> None:
    guild.call.mode = MODES["not by the next"]
    client = await guild.channel.connect(cls=discord.VoiceClient, timeout=5.0)
    await Socket(client).pings(1)
    await guild.call.new_address()
    await client.disconnect()
    socket = await connects(guild)
    await socket.pings(2, 3)
    await asyncio.sleep(0.2)
    assert not socket.received


async def test_reports_come_only_while_the_bot_speaks(guild: VoiceGuild) -> None:
    guild.call.mode = Mode(reports=(0.2, 0.3))
    client = await plays(guild, 1.0)
    socket = Socket(client)
    await eventually(lambda: not client.is_playing())
    await asyncio.sleep(0.4)
    assert 2 <= socket.kinds[201] <= 6
    socket.received.clear()
    await asyncio.sleep(0.8)
    assert not socket.received


async def test_others_talk_and_stop(guild: VoiceGuild) -> None:
    guild.call.mode = Mode(sender_reports=(0.1, 0.2))
    socket = await connects(guild)
    guild.call.somebody_talks = True
    await asyncio.sleep(1.3)
    assert socket.kinds[0x78] == pytest.approx(55, abs=15)
    assert socket.kinds[200] >= 3
    guild.call.somebody_talks = False
    await asyncio.sleep(0.3)
    socket.received.clear()
    await asyncio.sleep(0.5)
    assert socket.kinds[0x78] == 0


async def test_others_talk_in_turn_with_silence(guild: VoiceGuild) -> None:
    guild.call.mode = Mode(talk=(0.3, 0.4), quiet=(0.3, 0.4))
    socket = await connects(guild)
    await asyncio.sleep(2.5)
    assert 30 <= socket.kinds[0x78] <= 90


async def test_udp_dies_one_way(guild: VoiceGuild) -> None:
    guild.call.mode = Mode(pings=Pings.PONG)
    client = await plays(guild, 3.0)
    await guild.call.begins()
    socket = Socket(client)
    guild.call.udp_dies(to_server=False)
    before = guild.call.sessions[-1].received
    await socket.pings(1)
    await asyncio.sleep(0.3)
    assert not socket.received
    assert guild.call.sessions[-1].received > before + 5
    guild.call.udp_revives()
    await socket.pings(2)
    await eventually(lambda: socket.kinds == {PONG: 1})
    client.stop()


async def test_a_distant_server_takes_its_time(guild: VoiceGuild) -> None:
    """Joining takes round trips for two events, the handshakes, and five messages."""
    guild.call.mode = Mode(pings=Pings.PONG, round_trip=(0.1, 0.1))
    began = time.monotonic()
    socket = await connects(guild)
    assert time.monotonic() - began > 0.6
    await socket.pings(1)
    await asyncio.sleep(0.05)
    assert not socket.received
    await eventually(lambda: socket.kinds == {PONG: 1})


async def test_a_welcome_comes_late(guild: VoiceGuild) -> None:
    guild.call.mode = Mode(welcome_after=0.7)
    client = await guild.channel.connect(cls=discord.VoiceClient, timeout=5.0)
    play(client, 2.0)
    await asyncio.sleep(0.4)
    assert client.voice_privacy_code is None
    await eventually(lambda: client.voice_privacy_code)
    heard = await guild.call.heard_until_quiet()
    assert guild.call.unintelligible > 10
    assert 0.8 < heard.seconds < 1.7


async def test_a_new_server_is_announced_late(guild: VoiceGuild) -> None:
    guild.call.mode = Mode(new_server_after=(1.0, 1.0), null_endpoint_first=True)
    began = time.monotonic()
    client = await guild.channel.connect(cls=discord.VoiceClient, timeout=5.0)
    assert time.monotonic() - began > 1.0
    moving = asyncio.create_task(guild.move_bot(guild.studio))
    await eventually(lambda: not guild.call.is_connected)
    await asyncio.sleep(0.7)
    assert len(guild.call.sessions) == 1
    await moving
    await eventually(lambda: guild.call.is_connected and client.is_connected())
    assert guild.call.sessions[-1].channel_id == guild.studio.id


async def test_news_of_a_kick_come_late(guild: VoiceGuild) -> None:
    guild.call.mode = Mode(kick_news_after=0.8)
    client = await guild.channel.connect(cls=discord.VoiceClient, timeout=5.0)
    await guild.kick_bot()
    assert guild.bot_is_in is None
    await asyncio.sleep(0.4)
    me = guild.channel.guild.me
    assert me.voice is not None, "the bot knows already"
    await eventually(lambda: me.voice is None)
    await eventually(lambda: not client.is_connected())


async def test_a_guild_is_a_stub_after_the_bot_has_identified_anew(guild: VoiceGuild) -> None:
    bot = guild.server.bot
    client = await guild.channel.connect(cls=discord.VoiceClient, timeout=5.0)
    again = asyncio.create_task(guild.reidentifies(gap=0.3, stub_seconds=0.5))
    await eventually(lambda: not guild.is_open)
    with pytest.raises(ConnectionResetError):
        await client.channel.guild.change_voice_state(channel=None)
    await eventually(lambda: guild.is_open)
    stub = bot.get_guild(guild.handle.id)
    assert stub is not None
    assert stub.unavailable
    assert stub.get_member(guild.call.bot_id) is None
    await again
    back = bot.get_guild(guild.handle.id)
    assert back is not None
    assert back.me is not None
    assert back.me.voice is None
    assert guild.bot_is_in is None
    await client.disconnect(force=True)


async def test_a_lost_network_swallows_connections(guild: VoiceGuild) -> None:
    client = await guild.channel.connect(cls=discord.VoiceClient, timeout=5.0, reconnect=False)
    losing = asyncio.create_task(guild.loses_network(1.5))
    await eventually(lambda: not client.is_connected())
    with pytest.raises(TimeoutError):
        await guild.channel.connect(cls=discord.VoiceClient, timeout=0.4)
    await losing
    await guild.channel.connect(cls=discord.VoiceClient, timeout=5.0)
    assert guild.call.is_connected
