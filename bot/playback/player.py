"""One guild's player: what waits to be said, what is being said, and what is made ready for it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from bot.errors import Refusal
from bot.fair_queue import FairQueue, QueueFullError
from bot.playback.playout import perform

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from bot.playback.connection import Connection
    from bot.playback.queue import QueuedItem

log = structlog.get_logger(__name__)

MAX_WAITING = 25
MAX_WAITING_PER_MEMBER = 10

PREPARED_SECONDS = 5.0
"""Once this much is ready beyond the current item, no further item is begun to be made."""

FAILED = "Something broke on my side while I spoke. Please try again in a minute."


@dataclass(frozen=True, slots=True)
class Place:
    """An item's place in the queue.

    Attributes:
        item: The item.
        number: 0 while it is being said, then from 1.
        starts_in: In seconds, by estimate.
    """

    item: QueuedItem
    number: int
    starts_in: float


class GuildPlayer:
    """Says what the members of one guild have put in, one item at a time, members in turn.

    A task does the work while there is something to say, and ends when there is nothing left. The
    speech of an item is made while the one before it is heard: at most `AHEAD_SECONDS` of each
    item are held, and items are prepared until `PREPARED_SECONDS` are ready.

    Attributes:
        connection: The guild's voice connection.
        votes: Who wants it to be skipped.
        quiet_since: When the last item ended, in the time of `time.monotonic`.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._current: QueuedItem | None = None
        self.votes: set[int] = set()
        self.quiet_since = time.monotonic()
        self._queue: FairQueue[int, QueuedItem] = FairQueue(
            limit=MAX_WAITING, limit_per_caller=MAX_WAITING_PER_MEMBER
        )
        self._task: asyncio.Task[None] | None = None
        self._stopping: set[asyncio.Task[None]] = set()

    @property
    def current(self) -> QueuedItem | None:
        """What is being said, unless it was just ended."""
        item = self._current
        return None if item is None or item.has_ended else item

    @property
    def is_busy(self) -> bool:
        """Whether something is being said, or waits to be."""
        return self._current is not None or len(self._queue) > 0

    @property
    def items(self) -> list[QueuedItem]:
        """Everything that is not over, in the order in which it will be heard."""
        current = self.current
        return [*([current] if current is not None else []), *self._queue]

    def add(self, item: QueuedItem) -> None:
        """Put an item into the queue. Raises `Refusal` if it is full."""
        try:
            self._queue.push(item.owner_id, item)
        except QueueFullError as error:
            whose = "You have" if error.for_caller else "This server has"
            raise Refusal(
                f"{whose} as much in the queue as I take. Wait until some of it was heard, "
                "or use `/say` with `where: file`."
            ) from None
        self.wake()
        self._prepare()

    def places(self) -> list[Place]:
        """Where every item stands."""
        places = []
        number, starts_in = 0 if self.current is not None else 1, 0.0
        for place, item in enumerate(self.items, start=number):
            places.append(Place(item, place, starts_in))
            starts_in += item.seconds_left
        return places

    def place_of(self, item: QueuedItem) -> Place | None:
        """Where an item stands; None once it is over."""
        return next((place for place in self.places() if place.item is item), None)

    def remove(self, item: QueuedItem, reason: Exception) -> None:
        """Take an item out, wherever it is; whoever waits for it gets the reason.

        Nothing happens if it is over.
        """
        if item.has_ended:
            return
        self._queue.remove(item)
        item.end(reason)
        item.source.end()
        self._run(item.making.stop())

    def clear(self, reason: Exception, *, owner_id: int | None = None) -> int:
        """Take out everything, or everything of one member; return how many items that were."""
        items = [item for item in self.items if owner_id is None or item.owner_id == owner_id]
        for item in items:
            self.remove(item, reason)
        return len(items)

    def wake(self) -> None:
        """Say what waits, or just mend the connection if nothing does."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._speak_all(), name="voice channel player")

    async def close(self, reason: Exception) -> None:
        """End everything and leave the channel; return when nothing is left running."""
        self.clear(reason)
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self.connection.leave()
        while self._stopping:
            await asyncio.wait(self._stopping)

    async def _speak_all(self) -> None:
        try:
            while True:
                while len(self._queue):
                    await self._speak(self._queue.pop())
                await self.connection.line()
                if not len(self._queue):  # something may have come in while a line was mended
                    break
        except Refusal as lost:
            count = self.clear(lost)
            log.info("nothing more to say here", reason=str(lost), items=count)
        except Exception:
            log.exception("the player failed")
            self.clear(Refusal(FAILED))

    async def _speak(self, item: QueuedItem) -> None:
        self._current, self.votes = item, set()
        item.making.start(on_end=self._prepare)
        try:
            await item.source.begun()
            if item.source.length:
                await perform(item.source, self.connection)
            item.end(item.making.error)
        except Refusal as lost:
            item.end(lost)
            raise
        finally:
            item.end(Refusal(FAILED))
            self._current = None
            self.quiet_since = time.monotonic()
            self._run(item.making.stop())
            self._prepare()

    def _prepare(self) -> None:
        """Begin to make the next item if the backend is free for it; one is made at a time."""
        if self._current is not None and not self._current.source.finished:
            return
        ready = 0.0
        for item in self._queue:
            if not item.making.started:
                if ready < PREPARED_SECONDS:
                    item.making.start(on_end=self._prepare)
                return
            if item.making.under_way:
                return
            ready += item.source.buffered_seconds

    def _run(self, stopping: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(stopping)
        self._stopping.add(task)
        task.add_done_callback(self._stopping.discard)
