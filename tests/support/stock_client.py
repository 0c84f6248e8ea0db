"""A bot that only uses discord.py, with its own voice client: to test the voice server itself."""

from __future__ import annotations

import io
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import discord
import numpy as np
from discord.ext import commands
from simcord.env import Env

from bot.playback.opus import load_opus
from tests.support.discord_server import Server
from tests.support.marked_speech import marked
from tests.support.voice_guild import eventually, open_voice
from tests.support.voice_server.hearing import SAMPLE_RATE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.voice_guild import VoiceGuild, VoiceWorld


@asynccontextmanager
async def open_stock(*, guilds: int = 3) -> AsyncIterator[VoiceWorld]:
    """Start a simulated Discord with such a bot in it."""
    load_opus()
    intents = discord.Intents.none()
    intents.guilds = intents.voice_states = True
    bot = commands.AutoShardedBot(command_prefix=commands.when_mentioned, intents=intents)
    env = Env(bot, shard_count=1)
    await env.start()
    channel = env.create_guild().create_text_channel("text")
    server = Server(env, bot, None, channel)  # type: ignore[arg-type]
    async with open_voice(server, guilds=guilds) as opened:
        yield opened
    await env.shutdown()


async def plays(guild: VoiceGuild, seconds: float, *, item: int = 0) -> discord.VoiceClient:
    """Connect as any bot does, and start to play marked speech."""
    client = await guild.channel.connect(cls=discord.VoiceClient, timeout=1.5)
    if guild.call.listeners:
        await eventually(lambda: client.voice_privacy_code)
    play(client, seconds, item=item)
    return client


def play(client: discord.VoiceClient, seconds: float, *, item: int = 0) -> None:
    """Start to play marked speech."""
    stereo = np.repeat((marked(item, seconds, SAMPLE_RATE) * 32_767).astype("<i2"), 2)
    client.play(discord.PCMAudio(io.BytesIO(stereo.tobytes())), fec=False)
