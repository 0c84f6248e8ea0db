"""A small simulated Discord server with the real bot in it.

simcord runs discord.py unmodified against an in-memory Discord. What it cannot show: Discord's own
limits on uploads, and live edits of a progress message. The bot speaks into a broadcast, to which
the listen page listens.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast

import simcord
from discord import Permissions
from simcord.backend.models import User
from simcord.builders import UserHandle

from bot.client import VoiceBot
from bot.demo.listen import Broadcast
from bot.demo.refusals import expect_refusals
from bot.demo.voice import BroadcastVoice, answer_voice_requests, detach_background
from bot.interface.options import Where

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from simcord.actors import MemberActor
    from simcord.builders import ChannelHandle
    from simcord.env import Env

    from bot.settings import Settings
    from bot.speech.backend import SpeechBackend

YOUR_ID = 1_100_000_000_000_000_001
FRIENDS_ID = 1_100_000_000_000_000_002

SETTLE_WITHIN_SECONDS = 7_200.0
"""simcord calls a command stuck after this.

Speech of 5,000 characters lasts six minutes, and a slow processor makes it many times slower."""


@dataclass(frozen=True, slots=True)
class World:
    """One server with two people and the bot.

    Attributes:
        env: simcord.
        bot: The bot.
        channel: The server's text channel.
        you: Who tries the bot; is in the voice channel, and may use every command. While nobody has
            the listen page open, you're deafened there.
        friend: Somebody else.
        broadcast: What is said in the voice channel.
    """

    env: Env
    bot: VoiceBot
    channel: ChannelHandle
    you: MemberActor
    friend: MemberActor
    broadcast: Broadcast


def backend_of(settings: Settings) -> Literal["preview", "local"]:
    """Where the demo's speech comes from: the preview, unless the settings name the local backend.

    Calls of Modal cost money, and people may only want to see the demo.
    """
    return "local" if settings.speech_backend == "local" else "preview"


@asynccontextmanager
async def open_world(
    settings: Settings, *, speech: SpeechBackend | None = None
) -> AsyncIterator[World]:
    """Start the bot on a simulated server with its commands published; stop it afterwards.

    Args:
        settings: What the operator decided. See `backend_of` for where the speech comes from.
        speech: A backend that takes the place of that one.
    """
    broadcast = Broadcast()
    bot = VoiceBot(
        settings.model_copy(
            update={
                "speech_backend": backend_of(settings),
                "allowed_servers": frozenset(),  # those are on Discord
                "shards": None,
                "operators": frozenset({YOUR_ID}),
            }
        ),
        speech=speech,
        voice_class=partial(BroadcastVoice, broadcast=broadcast),
        speaks_by_default=Where.BOTH,  # so that a first try is heard in the page too
    )
    options = {"shard_count": 1, "settle_timeout": SETTLE_WITHIN_SECONDS, "check_errors": False}
    async with simcord.run(bot, **options) as env:
        # Made on simcord's own date, they have the same ids in every run, so that shares and
        # settings find their server again.
        guild = env.create_guild("Timbre demo")
        channel = guild.create_text_channel("voices")
        lounge = guild.create_voice_channel("Lounge")
        managers = guild.create_role("Managers", permissions=Permissions(manage_guild=True))
        # simcord's date is one in the past, and stands still. Saved voices have true dates, and
        # what people read as dates should agree with them. Timers still follow simcord's own time.
        env.backend.clock.now = partial(datetime.now, UTC)  # type: ignore[method-assign]
        env.backend.edit_bot_profile("Timbre")
        expect_refusals(env)
        you = guild.add_member(_person(env, YOUR_ID, "you"), roles=[managers])
        friend = guild.add_member(_person(env, FRIENDS_ID, "friend"))
        answer_voice_requests(env, bot)
        detach_background(asyncio.get_running_loop())
        cast("Any", bot.get_cog("Upkeep")).restart()  # it has begun already
        await you.join_voice(lounge, self_deaf=True)
        broadcast.on_listeners = partial(_deafen_unless_listening, env, you)
        # Only now: the bot asked for ids at its start, and simcord shows no links in embeds.
        await bot.tree.sync()
        try:
            yield World(env, bot, channel, you, friend, broadcast)
        finally:
            if not bot.is_closed():
                await bot.close()


def _deafen_unless_listening(env: Env, person: MemberActor, listeners: int) -> None:
    """Show the bot whether a person hears it, as Discord does, while they're in a voice channel."""
    state = env.backend.get_guild(person.guild.id).voice_states.get(person.id)
    if state is not None:
        env.backend.set_voice_state(
            person.guild.id, person.id, state.channel_id, self_deaf=listeners == 0
        )


def _person(env: Env, user_id: int, name: str) -> UserHandle:
    """Create a user with the same id in every run, so that saved voices find their owner again."""
    user = User(id=env.backend.reserve_id(user_id), name=name)
    env.backend.users[user.id] = user
    return UserHandle(env, user)
