"""The players of all guilds, and when they leave a channel by themselves."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import discord
import structlog
from discord.ext import tasks

from bot.errors import Refusal
from bot.playback.connection import Connection
from bot.playback.permissions import VocalChannel, people_in
from bot.playback.player import GuildPlayer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

log = structlog.get_logger(__name__)

LOOK_SECONDS = 5.0
LEAVE_WHEN_ALONE_SECONDS = 60.0

EVERYBODY_LEFT = "Everybody had left the voice channel, so I left too."
RESTARTING = "I have to restart now. Please use `/say` again in a minute."
REMOVED_FROM_GUILD = "I was removed from that server."


@dataclass
class _Kept:
    """A guild's player, and since when nobody is there to hear it."""

    player: GuildPlayer
    alone_since: float | None = None


class GuildPlayers:
    """Keeps one player for each guild in which the bot speaks.

    Args:
        client: The bot.
        idle_seconds: How long the bot stays in a channel without saying anything.
        voice_class: What connects to voice channels.
    """

    def __init__(
        self,
        client: discord.Client,
        *,
        idle_seconds: float,
        voice_class: Callable[..., Any] = discord.VoiceClient,
    ) -> None:
        self._client = client
        self._idle_seconds = idle_seconds
        self._voice_class = voice_class
        self._kept: dict[int, _Kept] = {}
        self._closed = False

    def of(self, guild_id: int) -> GuildPlayer:
        """A guild's player."""
        return self._keep(guild_id).player

    def find(self, guild_id: int | None) -> GuildPlayer | None:
        """A guild's player, if the bot is in one of its voice channels, or still has work there."""
        kept = self._kept.get(guild_id) if guild_id is not None else None
        return kept.player if kept is not None and _is_in_use(kept.player) else None

    async def join(self, channel: VocalChannel) -> str | None:
        """Go to a voice channel, from wherever the bot is in that guild.

        Returns a sentence that people should know, if there is one. Raises `Refusal`.
        """
        if self._closed:
            raise Refusal(RESTARTING)
        kept = self._keep(channel.guild.id)
        remark = await kept.player.connection.join(channel)
        if self._closed:
            raise Refusal(RESTARTING)
        kept.player.quiet_since = time.monotonic()
        kept.alone_since = None
        return remark

    def take_note(self, guild_id: int, *, left: bool) -> None:
        """Be told that the bot's own voice state has changed, or that it is in no channel now."""
        player = self.find(guild_id)
        if player is not None:
            player.connection.take_note(left=left)
            player.wake()

    async def close(self) -> None:
        """Leave everywhere; return when nothing is left running."""
        self._closed = True
        looking_after = self._look_after.get_task()
        self._look_after.cancel()
        if looking_after is not None:
            await asyncio.wait([looking_after])
        await _close_all((kept.player, RESTARTING) for kept in self._kept.values())
        self._kept.clear()

    def _keep(self, guild_id: int) -> _Kept:
        kept = self._kept.get(guild_id)
        if kept is None:
            connection = Connection(self._client, guild_id, voice_class=self._voice_class)
            kept = self._kept[guild_id] = _Kept(GuildPlayer(connection))
            if not self._look_after.is_running():
                self._look_after.start()
        return kept

    @tasks.loop(seconds=LOOK_SECONDS)
    async def _look_after(self) -> None:
        """Leave channels without need, and mend idle connections."""
        leaving: list[tuple[GuildPlayer, str]] = []
        for guild_id, kept in list(self._kept.items()):
            player = kept.player
            if self._client.get_guild(guild_id) is None:
                del self._kept[guild_id]
                leaving.append((player, REMOVED_FROM_GUILD))
            elif not _is_in_use(player):
                continue
            elif self._has_no_need(kept):
                leaving.append((player, EVERYBODY_LEFT))
            elif not player.is_busy and not player.connection.is_well:
                player.wake()
        await _close_all(leaving)

    def _has_no_need(self, kept: _Kept) -> bool:
        """Whether nobody listens, or nobody has had anything to say for long."""
        now = time.monotonic()
        channel = kept.player.connection.channel
        if channel is None or people_in(channel):
            kept.alone_since = None
        elif kept.alone_since is None:
            kept.alone_since = now
        alone = kept.alone_since is not None and now - kept.alone_since >= LEAVE_WHEN_ALONE_SECONDS
        idle = not kept.player.is_busy and now - kept.player.quiet_since >= self._idle_seconds
        return alone or idle


async def _close_all(players: Iterable[tuple[GuildPlayer, str]]) -> None:
    """Close players, and tell whoever waits for something why."""
    results = await asyncio.gather(
        *(player.close(Refusal(reason)) for player, reason in players), return_exceptions=True
    )
    for result in results:
        if isinstance(result, Exception):
            log.error("a voice channel was not left in order", exc_info=result)


def _is_in_use(player: GuildPlayer) -> bool:
    return player.is_busy or player.connection.channel is not None
