"""The players of all guilds. They leave channels in which they are no longer needed."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import structlog
from discord.ext import tasks

from bot.errors import Reason, Refusal
from bot.playback.connection import Connection
from bot.playback.permissions import VocalChannel, check_can_speak_in, people_in
from bot.playback.player import OWNER_KNOWN_SECONDS, GuildPlayer
from bot.playback.voice_client import VoiceClient

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    import discord

    from bot.errors import Note
    from bot.playback.player import Presence
    from bot.playback.queue import QueueEntry, Spoken

log = structlog.get_logger(__name__)

CHECK_SECONDS = 5.0
LEAVE_WHEN_ALONE_SECONDS = 60.0


class GuildPlayers:
    """Keeps one player for each guild whose voice channels the bot uses.

    Args:
        client: The bot.
        idle_seconds: How long the bot stays in a channel with no entries to play.
        enter: Called with a guild's id before the bot joins a channel there, if it is in none.
            Raises `Refusal` if it is in too many.
        voice_class: The class of voice clients.
    """

    def __init__(
        self,
        client: discord.Client,
        *,
        idle_seconds: float,
        enter: Callable[[int], Awaitable[Presence]],
        voice_class: Callable[..., Any] = VoiceClient,
    ) -> None:
        self._client = client
        self._idle_seconds = idle_seconds
        self._enter = enter
        self._voice_class = voice_class
        self._players: dict[int, GuildPlayer] = {}
        self._closed = False

    def of(self, guild_id: int) -> GuildPlayer:
        """Return a guild's player, which is created if there is none yet."""
        player = self._players.get(guild_id)
        if player is None:
            connection = Connection(self._client, guild_id, voice_class=self._voice_class)
            player = self._players[guild_id] = GuildPlayer(connection)
            if not self._look_after.is_running():
                self._look_after.start()
        return player

    def find(self, guild_id: int | None) -> GuildPlayer | None:
        """Return a guild's player if it is in a voice channel or has entries to play, else None."""
        player = self._players.get(guild_id) if guild_id is not None else None
        return player if player is not None and _is_in_use(player) else None

    def last_dismissal(self, guild_id: int | None) -> Exception | None:
        """Why a guild's player was last dismissed; None if it never was, or there is none."""
        player = self._players.get(guild_id) if guild_id is not None else None
        return player.last_dismissal if player is not None else None

    def last_spoken(self, channel: VocalChannel) -> Spoken | None:
        """What is being heard in a voice channel, or was heard there last in its guild."""
        player = self._players.get(channel.guild.id)
        spoken = player.last_spoken if player is not None else None
        return spoken if spoken is not None and spoken.channel_id == channel.id else None

    async def join(
        self,
        channel: VocalChannel,
        *,
        last_dismissal: Exception | None,
        check: Callable[[], object] = lambda: None,
    ) -> Note | None:
        """Join a voice channel, or move to it from another one of that guild.

        What waits to be heard in another channel ends.

        Args:
            channel: The channel.
            last_dismissal: What `last_dismissal` was when the member called the bot. If somebody
                has dismissed it since, by `/leave` or as a moderator who disconnects it, it doesn't
                come for this member any more.
            check: Raises `Refusal` if the member who calls the bot may not have it there. Members
                who call it at the same time are served one after another, so this is called when
                it is this member's turn.

        Returns a note for that member, if there is one. Raises `Refusal`.
        """
        player = self.of(channel.guild.id)
        try:
            async with player.joining:
                if player.presence is None:
                    player.presence = await self._enter(channel.guild.id)
                self._check_open(player, last_dismissal)
                check()
                check_can_speak_in(channel)
                player.keep_only(channel.id)
                try:
                    note = await player.connection.join(channel)
                except Refusal:
                    self._check_open(player, last_dismissal)
                    raise
                self._check_open(player, last_dismissal)
                player.quiet_since = time.monotonic()
                player.alone_since = None
        finally:
            player.end_presence()  # unless the bot is there now
        return note

    def _check_open(self, player: GuildPlayer, last_dismissal: Exception | None) -> None:
        """Raise `Refusal` if the bot stops, or if a player was dismissed since that dismissal."""
        if self._closed:
            raise Refusal(Reason.PLAYER_RESTARTING)
        if player.last_dismissal is not None and player.last_dismissal is not last_dismissal:
            raise player.last_dismissal

    def entries(self) -> list[tuple[int, QueueEntry]]:
        """Return every entry that has not ended, in all guilds, with the id of its guild."""
        return [
            (guild_id, entry)
            for guild_id, player in self._players.items()
            for entry in player.entries
        ]

    def end_voice(self, owner_id: int, voice_id: int | None = None) -> int:
        """End what a deleted voice says and would say, in every guild; return how much that was.

        Args:
            owner_id: Whose voice it was.
            voice_id: The voice, as `SavedVoice.id`; without it, all voices of that person, and all
                that the person wanted to be said.
        """
        return sum(
            player.clear(
                Refusal(Reason.VOICE_DELETED_MEANWHILE),
                where=lambda entry: (
                    owner_id in {entry.owner_id, entry.voice_owner_id}
                    if voice_id is None
                    else entry.voice_id == voice_id
                ),
            )
            for player in self._players.values()
        )

    def own_voice_state_changed(self, guild_id: int, *, channel_id: int | None, left: bool) -> None:
        """Record that Discord has shown the bot in a channel of a guild, or that it has left.

        Args:
            guild_id: The guild.
            channel_id: The channel that it is shown in now; None if in none.
            left: It has left. Otherwise it has arrived or moved, or was muted.

        A player that is not in use is told too. The news that the bot has left, as it was asked to,
        comes when the player is no longer in use.
        """
        player = self._players.get(guild_id)
        if player is None:
            return
        if player.connection.own_voice_state_changed(left=left):
            player.last_dismissal = Refusal(Reason.DISCONNECTED)
        if _is_in_use(player):
            if channel_id is not None:
                player.keep_only(channel_id)
            player.wake()

    def voice_state_changed(self, guild_id: int) -> None:
        """Look again who listens and who may speak: a member's voice state has changed."""
        player = self.find(guild_id)
        if player is not None:
            player.connection.note_listeners()
            player.check_speakers()

    def check_speakers(self, guild_id: int) -> None:
        """End what waits for members of a guild who may not speak any more."""
        player = self.find(guild_id)
        if player is not None:
            player.check_speakers()

    async def left_voice(self, guild_id: int, member_id: int) -> None:
        """Find out why a member of a guild is no longer in voice.

        If they were timed out, kicked or banned, what they have queued ends.
        """
        player = self.find(guild_id)
        if player is not None:
            await player.check_owner(member_id)

    async def close(self) -> None:
        """Leave all channels; return when no task is left running."""
        self._closed = True
        task = self._look_after.get_task()
        self._look_after.cancel()
        if task is not None:
            await asyncio.wait([task])
        players = self._players.values()
        await asyncio.gather(*(_close(player, Reason.PLAYER_RESTARTING) for player in players))
        self._players.clear()

    @tasks.loop(seconds=CHECK_SECONDS)
    async def _look_after(self) -> None:
        """Leave channels where the bot is not needed, and reconnect idle players."""
        work: list[Coroutine[Any, Any, None]] = []
        for guild_id, player in list(self._players.items()):
            if self._client.get_guild(guild_id) is None:
                del self._players[guild_id]
                work.append(_close(player, Reason.REMOVED_FROM_GUILD))
                continue
            if not _is_in_use(player):
                player.end_presence()
                continue
            player.check_speakers()
            if player.current is not None:
                owner = player.current.owner_id
                work.append(player.check_owner(owner, known_seconds=OWNER_KNOWN_SECONDS))
            work.append(self._leave_if_not_needed(player))
        await asyncio.gather(*work)

    async def _leave_if_not_needed(self, player: GuildPlayer) -> None:
        # Asked at once before it is closed: a member may call the bot at any moment.
        if self._is_not_needed(player):
            await _close(player, Reason.EVERYBODY_LEFT)
        elif not player.is_busy and not player.connection.is_well:
            player.wake()

    def _is_not_needed(self, player: GuildPlayer) -> bool:
        """Whether the channel has had no people, or the player no entries, for too long.

        A player that is joining for a member is needed, however long nobody has used it before.
        """
        if player.joining.locked():
            return False
        now = time.monotonic()
        channel = player.connection.channel
        if channel is None or people_in(channel):
            player.alone_since = None
        elif player.alone_since is None:
            player.alone_since = now
        is_alone = (
            player.alone_since is not None and now - player.alone_since >= LEAVE_WHEN_ALONE_SECONDS
        )
        return is_alone or (not player.is_busy and now - player.quiet_since >= self._idle_seconds)


async def _close(player: GuildPlayer, reason: Reason) -> None:
    """Close a player. Its entries end with a `Refusal` for the given reason."""
    try:
        await player.close(Refusal(reason))
    except Exception:
        log.exception("a voice channel was not left in order")


def _is_in_use(player: GuildPlayer) -> bool:
    return player.is_busy or player.connection.channel is not None
