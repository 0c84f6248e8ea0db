"""A voice connection that leads to a broadcast on this machine, rather than to Discord."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, cast

import discord
from discord.player import AudioPlayer

if TYPE_CHECKING:
    from collections.abc import Callable

    from discord.types.voice import GuildVoiceState, VoiceServerUpdate

    from bot.demo.broadcast import Broadcast


class BroadcastVoice(discord.VoiceProtocol):
    """The bot's seat in a simulated voice channel.

    discord.py's own player reads the source and its encoder makes the packets, 20 ms at a time, as
    in `discord.VoiceClient`.
    """

    def __init__(
        self, client: discord.Client, channel: discord.abc.Connectable, *, broadcast: Broadcast
    ) -> None:
        super().__init__(client, channel)
        self._guild = cast("discord.VoiceChannel", channel).guild
        self._broadcast = broadcast
        self._seated = threading.Event()
        self._answered = asyncio.Event()
        self._encoder: discord.opus.Encoder | None = None
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
        """Sit down. Raises `TimeoutError` if Discord does not answer."""
        await self._guild.change_voice_state(
            channel=cast("discord.VoiceChannel", self.channel),
            self_deaf=self_deaf,
            self_mute=self_mute,
        )
        async with asyncio.timeout(timeout):
            await self._answered.wait()

    async def disconnect(self, *, force: bool) -> None:  # noqa: ARG002 - nobody objects
        """Get up."""
        self.stop()
        if self._seated.is_set():
            self._seated.clear()
            await self._guild.change_voice_state(channel=None)
        self.cleanup()

    async def on_voice_state_update(self, data: GuildVoiceState, /) -> None:
        """Hear from Discord where the bot sits."""
        channel_id = cast("str | None", data["channel_id"])  # discord.py's type leaves out the None
        if channel_id is None:
            if self._seated.is_set():  # somebody else disconnected the bot
                self._seated.clear()
                await self.disconnect(force=True)
            return
        self.channel = cast("discord.VoiceChannel", self._guild.get_channel(int(channel_id)))
        self._seated.set()
        self._answered.set()

    async def on_voice_server_update(self, data: VoiceServerUpdate, /) -> None:
        """Nothing is served from anywhere."""

    def play(
        self,
        source: discord.AudioSource,
        *,
        after: Callable[[Exception | None], Any] | None = None,
        bitrate: int = 128,
        fec: bool = True,
        expected_packet_loss: float = 0.15,
    ) -> None:
        """Start a player. Raises `discord.ClientException` if one is at work."""
        if self.is_playing():
            raise discord.ClientException("Already playing audio.")
        self._encoder = discord.opus.Encoder(
            bitrate=bitrate, fec=fec, expected_packet_loss=expected_packet_loss
        )
        self._player = AudioPlayer(source, cast("discord.VoiceClient", self), after=after)
        self._player.start()

    def is_playing(self) -> bool:
        """Whether a player is at work."""
        return self._player is not None and self._player.is_playing()

    def stop(self) -> None:
        """End the player, if there is one."""
        if self._player is not None:
            self._player.stop()
            self._player = None

    def is_connected(self) -> bool:
        """Whether the bot sits in a voice channel."""
        return self._seated.is_set()

    def wait_until_connected(self, timeout: float | None = None) -> bool:
        """Wait until the bot sits; called by the player's thread."""
        return self._seated.wait(timeout)

    def send_audio_packet(self, data: bytes, *, encode: bool = True) -> None:
        """Pass 20 ms on; called by the player's thread."""
        if encode and self._encoder is not None:
            data = self._encoder.encode(data, discord.opus.Encoder.SAMPLES_PER_FRAME)
        self._broadcast.send(data)


class _Gateway:
    """The voice gateway, as far as the player talks to it."""

    async def speak(self, _state: discord.SpeakingState) -> None:
        """Nobody is shown who speaks."""
