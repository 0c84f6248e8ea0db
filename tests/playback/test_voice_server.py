"""The loopback voice server: it hears what a stock `VoiceClient` plays, and fails on demand."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import aiohttp
import discord
import pytest

from tests.support.marked_speech import marked, passages, repeated_seconds, unheard_seconds
from tests.support.stock_client import open_stock, play, plays
from tests.support.voice_guild import eventually, keep_reading
from tests.support.voice_server.faults import Faults
from tests.support.voice_server.hearing import SAMPLE_RATE
from tests.support.voice_server.spectrum import likeness

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.voice_guild import VoiceGuild, VoiceWorld

pytestmark = pytest.mark.realtime


@pytest.fixture
async def world() -> AsyncIterator[VoiceWorld]:
    async with open_stock() as opened:
        yield opened


@pytest.fixture
def guild(world: VoiceWorld) -> VoiceGuild:
    return world.guilds[0]


@pytest.mark.parametrize("somebody_listens", [True, False])
async def test_what_a_stock_client_plays_is_heard(
    guild: VoiceGuild, somebody_listens: bool
) -> None:
    guild.call.listeners = int(somebody_listens)
    client = await plays(guild, 1.2)
    assert guild.bot_is_in == guild.lounge.id
    heard = await guild.call.heard_until_quiet()
    assert heard.seconds == pytest.approx(1.2, abs=0.04)
    assert likeness(marked(0, 1.2, SAMPLE_RATE), heard.samples).score > 0.98
    assert {frame.is_encrypted for frame in heard.frames if not frame.is_end} == {somebody_listens}
    assert heard.arrivals[-1] - heard.arrivals[0] == pytest.approx(1.2, abs=0.25)
    assert heard.missing() == 0
    await client.disconnect()
    assert guild.bot_is_in is None


async def test_nobody_hears_what_is_sent_before_encryption_is_ready(guild: VoiceGuild) -> None:
    client = await guild.channel.connect(cls=discord.VoiceClient, timeout=5.0)
    play(client, 1.0)
    heard = await guild.call.heard_until_quiet()
    assert guild.call.unintelligible == pytest.approx((1.0 - heard.seconds) / 0.02, abs=2)


async def test_a_listener_joins_and_leaves(guild: VoiceGuild) -> None:
    guild.call.listeners = 0
    client = await plays(guild, 1.0)
    await guild.call.begins()
    await guild.call.listener_joins()
    await eventually(lambda: client.voice_privacy_code)
    await asyncio.sleep(0.3)
    await guild.call.listener_leaves()
    heard = await guild.call.heard_until_quiet()
    encrypted = [frame.is_encrypted for frame in heard.frames]
    assert not encrypted[0]
    assert any(encrypted)
    assert not encrypted[-1]
    assert unheard_seconds(heard, 0, 1.0) < 0.2


async def test_lost_packets_are_missing(guild: VoiceGuild) -> None:
    guild.call.faults = Faults(drop_share=0.25)
    await plays(guild, 1.2)
    heard = await guild.call.heard_until_quiet()
    assert 4 <= heard.missing() <= 28
    assert heard.longest_gap() > 0.015


async def test_a_deaf_server_hears_nothing_meanwhile(guild: VoiceGuild) -> None:
    await plays(guild, 1.0)
    await guild.call.begins()
    guild.call.udp_dies()
    died = time.perf_counter()
    await asyncio.sleep(0.3)
    guild.call.sessions[-1].deaf = False
    deaf = time.perf_counter() - died
    heard = await guild.call.heard_until_quiet()
    assert heard.longest_gap() == pytest.approx(deaf, abs=0.1)


@pytest.mark.slow
async def test_a_closed_connection_is_followed_by_another(guild: VoiceGuild) -> None:
    await plays(guild, 4.0)
    await keep_reading(guild)
    await guild.call.close(4006)
    heard = await guild.call.heard_until_quiet(quiet_seconds=2.5)
    assert {frame.connection for frame in heard.frames} == {0, 1}
    assert unheard_seconds(heard, 0, 4.0) > 0


async def test_the_call_moves_to_another_server(guild: VoiceGuild) -> None:
    await plays(guild, 2.0)
    await guild.call.begins()
    await keep_reading(guild)
    await guild.move_server()
    heard = await guild.call.heard_until_quiet()
    assert {frame.connection for frame in heard.frames} == {0, 1}
    assert repeated_seconds(heard, 0) <= 0.02


async def test_the_bot_is_moved_to_another_channel(guild: VoiceGuild) -> None:
    client = await plays(guild, 2.0)
    await guild.call.begins()
    await keep_reading(guild)
    await guild.move_bot(guild.studio)
    heard = await guild.call.heard_until_quiet()
    assert client.channel.id == guild.bot_is_in == guild.studio.id
    assert {frame.connection for frame in heard.frames} == {0, 1}


async def test_a_disconnected_bot_is_out(guild: VoiceGuild) -> None:
    client = await plays(guild, 5.0)
    await guild.call.begins()
    await guild.kick_bot()
    await eventually(lambda: not client.is_connected())
    assert guild.bot_is_in is None
    await eventually(lambda: not guild.call.is_connected)


async def test_a_bot_that_is_dropped_without_an_event_believes_that_it_is_connected(
    guild: VoiceGuild,
) -> None:
    client = await plays(guild, 5.0)
    await guild.call.begins()
    guild.forget_bot()
    now = time.time()
    assert not (await guild.call.heard(seconds=0.5, since=now + 0.05)).frames
    assert client.is_connected()
    assert guild.bot_is_in is None
    client.stop()


@pytest.mark.parametrize(
    "fault", [Faults(loses_discovery=True), Faults(loses_session_description=True)]
)
async def test_a_handshake_that_is_lost_times_out(guild: VoiceGuild, fault: Faults) -> None:
    guild.call.faults = fault
    with pytest.raises(TimeoutError):
        await guild.channel.connect(timeout=0.3)


async def test_a_server_that_refuses_cannot_be_reached(guild: VoiceGuild) -> None:
    guild.call.faults = Faults(refuses_connections=True)
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await guild.channel.connect(timeout=2.0)


async def test_a_session_that_ended_is_not_admitted(guild: VoiceGuild) -> None:
    guild.call.faults = Faults(closes_on_identify=4006)
    with pytest.raises(discord.ConnectionClosed) as refused:
        await guild.channel.connect(timeout=2.0, reconnect=False)
    assert refused.value.code == 4006


async def test_guilds_are_heard_apart(world: VoiceWorld) -> None:
    for number, guild in enumerate(world.guilds):
        await plays(guild, 0.6, item=number)
    for number, guild in enumerate(world.guilds):
        heard = await guild.call.heard_until_quiet(quiet_seconds=0.2)
        assert [row.item for row in passages(heard)] == [number]
        assert unheard_seconds(heard, number, 0.6) == 0
