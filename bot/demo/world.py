"""A small simulated Discord server with the real bot in it.

simcord runs discord.py unmodified against an in-memory Discord. What it cannot show: Discord's own
limits on uploads, live edits of a progress message, and sound in voice channels.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import simcord
from simcord.backend.models import User
from simcord.builders import UserHandle

from bot.client import create_bot

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from simcord.actors import MemberActor
    from simcord.builders import ChannelHandle
    from simcord.env import Env

    from bot.client import VoiceBot
    from bot.settings import Settings

YOUR_ID = 1_100_000_000_000_000_001
FRIENDS_ID = 1_100_000_000_000_000_002

WELCOME = """\
Welcome! This is a simulated Discord with the real bot in it. To try it:
1. Type `/clone`, choose a recording of 3 to 30 seconds of someone speaking, and write what the \
voice should say. Under *+3 more*, give it a `name` to keep it.
2. Confirm the consent question, wait a moment, and press *Play*.
3. Type `/say` to speak with the voice again. `/help` shows the rest.

This page shows an answer when it is complete, so a long text takes a while here; Discord itself \
shows the progress, with a button that stops it.
"""

SETTLE_WITHIN_SECONDS = 900.0
"""simcord calls a command stuck after this; speaking 5,000 characters takes a while."""


@dataclass(frozen=True, slots=True)
class World:
    """One server, one channel, two people and the bot."""

    env: Env
    bot: VoiceBot
    channel: ChannelHandle
    you: MemberActor
    friend: MemberActor


@asynccontextmanager
async def open_world(settings: Settings) -> AsyncIterator[World]:
    """Start the bot on a simulated server with its commands published; stop it afterwards."""
    bot = create_bot(settings.model_copy(update={"speech_backend": "preview"}))
    options = {"shard_count": 1, "settle_timeout": SETTLE_WITHIN_SECONDS, "check_errors": False}
    async with simcord.run(bot, **options) as env:
        # The simulation begins in the past; what people read as dates should be true.
        await env.advance_time((datetime.now(UTC) - env.now()).total_seconds())
        env.backend.edit_bot_profile("Timbre")
        guild = env.create_guild("Timbre demo")
        channel = guild.create_text_channel("voices")
        you = guild.add_member(_person(env, YOUR_ID, "you"))
        friend = guild.add_member(_person(env, FRIENDS_ID, "friend"))
        await bot.tree.sync()
        await friend.send(channel, WELCOME)
        try:
            yield World(env, bot, channel, you, friend)
        finally:
            await bot.close()


def _person(env: Env, user_id: int, name: str) -> UserHandle:
    """Create a user with the same id in every run, so that saved voices find their owner again."""
    user = User(id=env.backend.reserve_id(user_id), name=name)
    env.backend.users[user.id] = user
    return UserHandle(env, user)
