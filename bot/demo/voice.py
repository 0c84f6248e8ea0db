"""Voice on the simulated Discord: joining channels, which simcord lacks, and speaking in them.

What is spoken goes to a `Broadcast` on this machine.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import discord
from discord.ext import tasks
from discord.player import AudioPlayer

import bot.playback

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from discord.types.voice import GuildVoiceState, VoiceServerUpdate
    from simcord.env import Env

    from bot.demo.listen import Broadcast

BACKGROUND = {Path(bot.playback.__file__).parent, Path(tasks.__file__).parent}
"""The folders of what goes on by itself: playback, and discord.py's tasks that recur."""


class BroadcastVoice(discord.VoiceProtocol):
    """A voice client, in place of `discord.VoiceClient`, that sends what it plays to a broadcast.

    discord.py's own player reads the source, 20 ms at a time, as in `discord.VoiceClient`.
    """

    def __init__(
        self, client: discord.Client, channel: discord.abc.Connectable, *, broadcast: Broadcast
    ) -> None:
        super().__init__(client, channel)
        self._guild = cast("discord.VoiceChannel", channel).guild
        self._broadcast = broadcast
        self._connected = threading.Event()
        self._answered = asyncio.Event()
        self._player: AudioPlayer | None = None
        self.timeout = 30.0
        self.ws = _Gateway()

    async def connect(
        self,
        *,
        timeout: float,  # noqa: ASYNC109 - as in discord.py
        reconnect: bool,  # noqa: ARG002 - there is nothing to reconnect to
        self_deaf: bool = False,
        self_mute: bool = False,
    ) -> None:
        """Join the channel. Raises `TimeoutError` if Discord does not answer."""
        await self._guild.change_voice_state(
            channel=cast("discord.VoiceChannel", self.channel),
            self_deaf=self_deaf,
            self_mute=self_mute,
        )
        async with asyncio.timeout(timeout):
            await self._answered.wait()

    async def disconnect(self, *, force: bool) -> None:  # noqa: ARG002 - as in discord.py
        """Leave the channel."""
        self.stop()
        if self._connected.is_set():
            self._connected.clear()
            await self._guild.change_voice_state(channel=None)
        self.cleanup()

    async def on_voice_state_update(self, data: GuildVoiceState, /) -> None:
        """Take in which channel Discord has the bot in."""
        channel_id = cast("str | None", data["channel_id"])  # discord.py's type leaves out the None
        if channel_id is None:
            if self._connected.is_set():  # somebody else disconnected the bot
                self._connected.clear()
                await self.disconnect(force=True)
            return
        self.channel = cast("discord.VoiceChannel", self._guild.get_channel(int(channel_id)))
        self._connected.set()
        self._answered.set()

    async def on_voice_server_update(self, data: VoiceServerUpdate, /) -> None:
        """There is no voice server to connect to."""

    def play(
        self,
        source: discord.AudioSource,
        *,
        after: Callable[[Exception | None], Any] | None = None,
        **_encoder_options: Any,
    ) -> None:
        """Start a player. Raises `discord.ClientException` if one is playing."""
        if self.is_playing():
            raise discord.ClientException("Already playing audio.")
        self._player = AudioPlayer(source, cast("discord.VoiceClient", self), after=after)
        self._player.start()

    def is_playing(self) -> bool:
        """Whether a player is playing."""
        return self._player is not None and self._player.is_playing()

    def stop(self) -> None:
        """Stop the player, if there is one."""
        if self._player is not None:
            self._player.stop()
            self._player = None

    def is_connected(self) -> bool:
        """Whether the bot is in a voice channel."""
        return self._connected.is_set()

    def wait_until_connected(self, timeout: float | None = None) -> bool:
        """Wait until the bot is in a voice channel; called by the player's thread."""
        return self._connected.wait(timeout)

    def send_audio_packet(self, data: bytes, *, encode: bool = True) -> None:
        """Send 20 ms of samples; called by the player's thread. Opus is silence after speech."""
        if encode:
            self._broadcast.send(data)


class _Gateway:
    """The one command of the voice gateway that discord.py's player uses."""

    async def speak(self, _state: discord.SpeakingState) -> None:
        """Nobody is shown who speaks."""


def answer_voice_requests(env: Env, client: discord.AutoShardedClient) -> None:
    """Let the bot change its voice state, which simcord's gateway has no command for."""

    async def voice_state(
        guild_id: int, channel_id: int | None, self_mute: bool = False, self_deaf: bool = False
    ) -> None:
        flags = {"self_mute": self_mute, "self_deaf": self_deaf}
        env.backend.set_voice_state(guild_id, env.backend.bot_user.id, channel_id, **flags)

    for shard in client.shards.values():
        shard._parent.ws.voice_state = voice_state  # type: ignore[method-assign]  # noqa: SLF001


def detach_background(loop: asyncio.AbstractEventLoop) -> None:
    """Have the answer to a command shown while other things go on, and let those have real time.

    simcord shows an answer when every task has ended that the command started, which it knows by
    their context. A player ends minutes later, so the tasks of bot/playback/ get an empty context.
    So do the tasks that recur: simcord lets its own time stand still, then makes up for minutes of
    it at once, and does in that moment all that recurs. The page would wait for that.
    """
    create_task = loop.create_task

    def create(work: Coroutine[Any, Any, Any], **options: Any) -> asyncio.Task[Any]:
        task = partial(create_task, work, **options)
        is_background = inspect.iscoroutine(work) and _file_of(work).parent in BACKGROUND
        return contextvars.Context().run(task) if is_background else task()

    loop.create_task = create  # type: ignore[method-assign, assignment]


def _file_of(work: Any) -> Path:
    return Path(work.cr_code.co_filename)
