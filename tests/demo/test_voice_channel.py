"""`/say` in the demo's world, heard on the listen page."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bot.demo.world import open_world
from bot.settings import Settings
from tests.demo.test_listen import RATE, heard_in, listening, sounding
from tests.support.recordings import as_file, speech

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import aiohttp

    from bot.demo.world import World

TEXT = "Hello there. You can hear me now."

pytestmark = [pytest.mark.slow, pytest.mark.realtime, pytest.mark.lasts(25)]


@asynccontextmanager
async def demo_with_voice(tmp_path: Path) -> AsyncIterator[World]:
    """The demo's world, in which you have made a voice."""
    settings = Settings(_env_file=None, database_url=f"sqlite:///{tmp_path / 'demo.db'}")
    async with open_world(settings) as world:
        recording = ("me.m4a", as_file(speech(6.0), 24_000, "m4a"))
        await world.you.slash(
            world.channel, "clone", audio=recording, permission="own voice", name="Me"
        )
        yield world


async def collect(stream: aiohttp.StreamReader, heard: bytearray) -> None:
    async for data in stream.iter_any():
        heard += data


async def test_say_is_heard_by_whoever_listens_also_after_the_bot_was_disconnected(
    tmp_path: Path,
) -> None:
    async with demo_with_voice(tmp_path) as world:
        await is_heard_by_whoever_listens(world)
        await the_bot_can_be_moved_and_disconnected(world)
        await is_heard_by_whoever_listens(world)
        await world.you.slash(world.channel, "leave")
        assert world.bot.voice_clients == []


async def is_heard_by_whoever_listens(world: World) -> None:
    received = bytearray()
    async with listening(world.broadcast) as stream:
        listener = asyncio.create_task(collect(stream, received))
        answer = await world.you.slash(world.channel, "say", text=TEXT)
        await asyncio.sleep(0.5)
        listener.cancel()
    assert answer.response is not None
    assert answer.response.content.startswith("**Me** has spoken in")
    assert "nobody heard it" not in answer.response.content
    assert "preview" in answer.response.content
    heard = heard_in(bytes(received))
    assert sounding(heard).sum() * 0.02 > 1.0
    assert len(heard) / RATE < 6.0
    assert np.abs(heard[-RATE // 200 :]).max() < 0.01, "it ends without a click"


async def the_bot_can_be_moved_and_disconnected(world: World) -> None:
    guild, bot_id = world.env.guild, world.env.backend.bot_user.id
    other = guild.create_voice_channel("Studio")
    [voice] = world.bot.voice_clients

    world.env.backend.set_voice_state(guild.id, bot_id, other.id)
    await asyncio.sleep(0.2)
    assert voice.channel == world.bot.get_channel(other.id)

    world.env.backend.set_voice_state(guild.id, bot_id, None)
    await asyncio.sleep(0.2)
    assert world.bot.voice_clients == []
