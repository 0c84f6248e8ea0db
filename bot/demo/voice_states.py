"""What simcord's Discord lacks for voice channels: joining one, and going on in the background."""

from __future__ import annotations

import contextvars
import inspect
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bot.playback

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine
    from types import CoroutineType

    import discord
    from simcord.env import Env

PLAYBACK = Path(bot.playback.__file__).parent


def answer_voice_requests(env: Env, client: discord.AutoShardedClient) -> None:
    """Let the bot change its voice state, which simcord's gateway has no command for."""

    async def voice_state(
        guild_id: int, channel_id: int | None, self_mute: bool = False, self_deaf: bool = False
    ) -> None:
        flags = {"self_mute": self_mute, "self_deaf": self_deaf}
        env.backend.set_voice_state(guild_id, env.backend.bot_user.id, channel_id, **flags)

    for shard in client.shards.values():
        shard._parent.ws.voice_state = voice_state  # type: ignore[method-assign]  # noqa: SLF001


def let_playback_go_on(loop: asyncio.AbstractEventLoop) -> None:
    """Show the answer to a command while what it began goes on in a voice channel.

    simcord shows an answer when every task has ended that the command began, and a player ends
    minutes later. So the tasks of bot/playback/ are begun outside of the context by which simcord
    knows them.
    """
    create_task = loop.create_task

    def begin(work: Coroutine[Any, Any, Any], **options: Any) -> asyncio.Task[Any]:
        task = partial(create_task, work, **options)
        is_playback = inspect.iscoroutine(work) and _file_of(work).parent == PLAYBACK
        return contextvars.Context().run(task) if is_playback else task()

    loop.create_task = begin  # type: ignore[method-assign, assignment]


def _file_of(work: CoroutineType[Any, Any, Any]) -> Path:
    return Path(work.cr_code.co_filename)
