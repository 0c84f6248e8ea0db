"""The loopback voice server hears what a stock `VoiceClient` plays."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import av
import discord
import numpy as np
import pytest
from discord.ext import commands
from simcord.env import Env

from tests.support.discord_server import Server
from tests.support.voice_guild import eventually, open_voice
from tests.support.voice_server.spectrum import likeness

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from numpy.typing import NDArray

    from tests.support.voice_guild import VoiceWorld


@pytest.fixture(scope="module", autouse=True)
def _opus() -> None:
    if not discord.opus.is_loaded():
        folder = Path(av.__file__).parent.parent / "av.libs"
        discord.opus.load_opus(str(next(folder.glob("libopus-*.so*"))))


@pytest.fixture
async def world() -> AsyncIterator[VoiceWorld]:
    intents = discord.Intents.none()
    intents.guilds = intents.voice_states = True
    bot = commands.AutoShardedBot(command_prefix="!", intents=intents)
    env = Env(bot, shard_count=1)
    await env.start()
    channel = env.create_guild().create_text_channel("text")
    async with open_voice(Server(env, bot, None, channel)) as opened:  # type: ignore[arg-type]
        yield opened
    await env.shutdown()


def sweep(seconds: float) -> NDArray[np.float32]:
    """A tone that rises from 300 to 2,000 Hz; 48 kHz."""
    times = np.arange(round(seconds * 48_000)) / 48_000
    phase = 300 * times + (2_000 - 300) / (2 * seconds) * times**2
    return (0.25 * np.sin(2 * np.pi * phase)).astype(np.float32)


def as_source(samples: NDArray[np.float32]) -> discord.PCMAudio:
    stereo = np.repeat((samples * 32_767).astype("<i2"), 2)
    return discord.PCMAudio(io.BytesIO(stereo.tobytes()))


@pytest.mark.parametrize("somebody_listens", [True, False])
async def test_what_a_stock_client_plays_is_heard(
    world: VoiceWorld, somebody_listens: bool
) -> None:
    guild = world.guilds[0]
    guild.call.somebody_listens = somebody_listens
    client = await guild.channel.connect(cls=discord.VoiceClient)
    if somebody_listens:
        await eventually(lambda: client.voice_privacy_code)
    client.play(as_source(sweep(2.0)), fec=False)
    heard = await guild.call.heard_until_quiet()
    assert heard.seconds == pytest.approx(2.0, abs=0.04)
    assert likeness(sweep(2.0), heard.samples).score > 0.98
    assert {frame.is_encrypted for frame in heard.frames if not frame.is_end} == {somebody_listens}
    assert heard.longest_gap() < 0.06
    await client.disconnect()
