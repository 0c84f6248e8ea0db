"""One guild's player: its queue, the entry that is being played, and the prefetched entries."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from bot.errors import Reason, Refusal
from bot.fair_queue import FairQueue, QueueFullError
from bot.playback.membership import look_up
from bot.playback.permissions import is_in_voice, why_silent
from bot.playback.playout import play_out
from bot.playback.queue import MAX_WAITING, MAX_WAITING_PER_MEMBER, QueuePosition

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from bot.playback.connection import Connection
    from bot.playback.queue import QueueEntry, Spoken

log = structlog.get_logger(__name__)

PREFETCH_SECONDS = 5.0
"""Once this much speech of waiting entries is buffered, no further entry is prefetched."""

SLOW_PREFETCH_SECONDS = 30.0
"""The same where speech comes more slowly than it is heard: what is prefetched shortens waits."""

OWNER_KNOWN_SECONDS = 5.0
"""How long an answer of Discord about the owner of speech is used. An owner who left voice and is
kicked from the server later is heard for no more than twice as long."""


class Presence(Protocol):
    """That the bot is in a voice channel, as it counts against a limit."""

    def end(self) -> object:
        """Count it no longer."""


class GuildPlayer:
    """Plays the entries that the members of one guild have queued, round-robin between members.

    A task plays entries until none is left. While one entry is played, the next ones are prefetched
    until `PREFETCH_SECONDS` of their speech are buffered, or more where that comes slowly.

    Attributes:
        connection: The guild's voice connection.
        votes: The ids of members who want the current entry to be skipped.
        quiet_since: When the last entry ended, by `time.monotonic`.
        alone_since: When the last person left the channel, set by `GuildPlayers`; None while
            somebody is there.
        joining: Held by the command that has the bot join a channel, until it has joined.
        presence: Counts the voice channel against the limit while the bot is in it, set by
            `GuildPlayers`; None while it is in none.
        last_dismissal: Why it had to leave when that was last wanted: the reason that `dismiss` was
            given, or that a moderator has disconnected the bot. None if it never was.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.votes: set[int] = set()
        self.quiet_since = time.monotonic()
        self.alone_since: float | None = None
        self.joining = asyncio.Lock()
        self.presence: Presence | None = None
        self.last_dismissal: Exception | None = None
        self._last_spoken: Spoken | None = None
        self._current: QueueEntry | None = None
        self._queue: FairQueue[int, QueueEntry] = FairQueue(
            limit=MAX_WAITING, limit_per_caller=MAX_WAITING_PER_MEMBER
        )
        self._task: asyncio.Task[None] | None = None
        self._stopping: set[asyncio.Task[None]] = set()

    @property
    def current(self) -> QueueEntry | None:
        """The entry that is being played; None if it has just ended."""
        entry = self._current
        return None if entry is None or entry.has_ended else entry

    @property
    def last_spoken(self) -> Spoken | None:
        """What is being heard, or was heard last."""
        spoken = self._current.spoken if self._current is not None else None
        return spoken or self._last_spoken

    @property
    def is_busy(self) -> bool:
        """Whether an entry is being played or waits."""
        return self._current is not None or len(self._queue) > 0

    @property
    def entries(self) -> list[QueueEntry]:
        """Every entry that has not ended, in the order in which they will be played."""
        current = self.current
        return [*([current] if current is not None else []), *self._queue]

    def add(self, entry: QueueEntry) -> None:
        """Append an entry to the queue.

        Raises `Refusal` if the queue is full, or if the bot is not in the entry's channel any more.
        """
        channel = self.connection.channel
        if channel is not None and channel.id != entry.channel_id:
            raise Refusal(Reason.MOVED_AWAY)
        try:
            self._queue.push(entry.owner_id, entry)
        except QueueFullError as error:
            if error.for_caller:
                raise Refusal(Reason.OWN_QUEUE_FULL, limit=MAX_WAITING_PER_MEMBER) from None
            raise Refusal(Reason.QUEUE_FULL, limit=MAX_WAITING) from None
        self.wake()
        self._prefetch()

    def positions(self) -> list[QueuePosition]:
        """Return the position of every entry, in order."""
        positions = []
        first = 0 if self.current is not None else 1
        ends_in = produced_in = 0.0
        for number, entry in enumerate(self.entries, start=first):
            produced_in += entry.seconds_to_produce  # one after the other
            length, starts_in = entry.seconds_left, ends_in
            if entry is self.current:
                ends_in = entry.wait + length
            else:
                starts_in = max(ends_in, produced_in - length)
                ends_in = starts_in + length
            positions.append(QueuePosition(entry, number, starts_in, ends_in))
        return positions

    def position_of(self, entry: QueueEntry) -> QueuePosition | None:
        """Return the position of an entry; None once it has ended."""
        return next((position for position in self.positions() if position.entry is entry), None)

    def remove(self, entry: QueueEntry, reason: Exception) -> None:
        """Remove an entry, even while it is played. Its `heard` then raises `reason`.

        Does nothing if the entry has ended already.
        """
        if entry.has_ended:
            return
        self._queue.remove(entry)
        entry.end(reason)
        entry.source.stop()
        self._run(entry.producer.stop())

    def clear(
        self, reason: Exception, *, where: Callable[[QueueEntry], bool] = lambda _entry: True
    ) -> int:
        """Remove all entries, or those for which `where` is true; return how many were removed."""
        entries = [each for each in self.entries if where(each)]
        for entry in entries:
            self.remove(entry, reason)
        return len(entries)

    def keep_only(self, channel_id: int) -> None:
        """Remove the entries of other channels than the one that the bot is in, or goes to."""
        self.clear(Refusal(Reason.MOVED_AWAY), where=lambda entry: entry.channel_id != channel_id)

    def check_speakers(self) -> None:
        """Remove the entries of members who may not speak in their channel any more."""
        channel = self.connection.channel
        if channel is None:
            return
        for entry in self.entries:
            reason = why_silent(channel, entry.owner_id, entry.owner)
            if reason is not None:
                self.remove(entry, Refusal(reason))

    async def check_owner(self, owner_id: int, *, known_seconds: float = 0.0) -> None:
        """Ask Discord about an owner of entries who is in no voice channel.

        What they have queued ends if they were timed out, or are no longer a member. It stays if
        they have only left voice, or if Discord gives no answer.

        Args:
            owner_id: The owner.
            known_seconds: Don't ask if Discord was asked less than so many seconds ago.
        """
        channel, now = self.connection.channel, time.monotonic()
        entries = [entry for entry in self.entries if entry.owner_id == owner_id]
        if channel is None or is_in_voice(channel.guild, owner_id):
            return
        if all(now - entry.owner_known_at < known_seconds for entry in entries):
            return
        for entry in entries:
            entry.owner_known_at = now
        try:
            owner = await look_up(channel.guild, owner_id)
        except Refusal as gone:
            self.clear(gone, where=lambda entry: entry.owner_id == owner_id)
            return
        for entry in entries:
            entry.owner = owner or entry.owner
        self.check_speakers()

    def wake(self) -> None:
        """Play the waiting entries. If there are none, only reconnect if the link is broken."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._play_all(), name="voice channel player")

    async def dismiss(self, reason: Exception) -> None:
        """Close the player because a member wants that.

        Commands that are having the bot join, or are about to, fail with that reason too.
        """
        self.last_dismissal = reason
        await self.close(reason)

    async def close(self, reason: Exception) -> None:
        """Remove all entries and leave the channel; return when no task is left running."""
        self.clear(reason)
        self.connection.stay_out()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self.connection.leave()
        while self._stopping:
            await asyncio.wait(self._stopping)
        self.end_presence()

    def end_presence(self) -> None:
        """Count the voice channel no longer, if the bot is in none and joins none."""
        is_out = self.connection.channel is None and not self.joining.locked()
        if self.presence is not None and is_out:
            self.presence.end()
            self.presence = None

    async def _play_all(self) -> None:
        try:
            while True:
                while len(self._queue):
                    await self._play(self._queue.pop())
                await self.connection.working_link()
                if not len(self._queue):  # an entry may have been added while reconnecting
                    break
        except Refusal as lost:
            count = self.clear(lost)
            log.info("nothing more to say here", reason=str(lost), entries=count)
        except Exception:
            log.exception("the player failed")
            self.clear(Refusal(Reason.PLAYER_FAILED))

    async def _play(self, entry: QueueEntry) -> None:
        self._current, self.votes = entry, set()
        entry.producer.start(on_end=self._prefetch)
        if entry.pacing is not None:
            entry.pacing.begin_turn()
        try:
            await asyncio.gather(
                entry.source.until_readable(),
                self.check_owner(entry.owner_id, known_seconds=OWNER_KNOWN_SECONDS),
            )
            is_complete = not entry.source.length or await play_out(
                entry.source,
                self.connection,
                is_over=lambda: self._is_over(entry),
                pacing=entry.pacing,
            )
            unheard = None if is_complete else Refusal(Reason.PARTLY_UNHEARD)
            entry.end(entry.producer.error or unheard)
        except Refusal as lost:
            entry.end(lost)
            raise
        finally:
            entry.end(Refusal(Reason.PLAYER_FAILED))
            self._last_spoken = entry.spoken or self._last_spoken
            self._current = None
            self.quiet_since = time.monotonic()
            self._run(entry.producer.stop())
            self._prefetch()

    def _is_over(self, entry: QueueEntry) -> bool:
        """Whether an entry may not be heard any more: where the bot is, or at all."""
        channel = self.connection.channel
        if channel is not None:
            self.keep_only(channel.id)
            self.check_speakers()
        return entry.has_ended

    def _prefetch(self) -> None:
        """Prefetch the next entry, if no entry is being produced and too little is buffered."""
        if self._current is not None and not self._current.source.finished:
            return
        buffered = 0.0
        for entry in self._queue:
            if not entry.producer.has_started:
                if buffered < (SLOW_PREFETCH_SECONDS if entry.is_slow else PREFETCH_SECONDS):
                    entry.producer.start(on_end=self._prefetch)
                return
            if entry.producer.is_running:
                return
            buffered += entry.source.buffered_seconds

    def _run(self, stopping: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(stopping)
        self._stopping.add(task)
        task.add_done_callback(self._stopping.discard)
