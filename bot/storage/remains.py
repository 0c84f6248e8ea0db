"""What deleted rows leave in a SQLite file and in its write-ahead log, and how that is removed.

SQLite overwrites the space of a deleted row with zeros (`PRAGMA secure_delete`). Two kinds of
copies outlive that:

- The log holds pages as they were. It is truncated by a checkpoint, which has to wait for whoever
  still reads an older state.
- A page has gaps between its rows, in which there may be copies of rows that were moved. `VACUUM`
  writes every page anew.

The file counts the deletions whose copies aren't removed yet, in `PRAGMA user_version`. That is
counted in the transaction that deletes, so what a process leaves, another one or the next finishes.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextvars import Context
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

import structlog
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from bot.storage.engines import LOCK_TRY_SECONDS, is_busy
from bot.storage.errors import describe

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextlib import AbstractAsyncContextManager

    from sqlalchemy.ext.asyncio import AsyncSession

SECONDS_BETWEEN_TRIES = 0.05
TRIES_TO_EMPTY_LOG = 40
"""How often a deletion tries to empty the log, in two seconds, before the background does."""

SECONDS_BETWEEN_LATER_TRIES = 2.0
SECONDS_AFTER_FAILURE = 30.0
LONGEST_PAUSE_SECONDS = 3_600.0
"""Between two tries, if the disk is full for example; each pause is twice as long as before."""

IDLE_SECONDS = 10.0
"""`VACUUM` waits until nothing was written for so long,"""

LONGEST_WAIT = 30
"""but not for more than this many times. From then on, writes wait for it, if the file is small."""

MOST_BYTES_TO_INSIST = 500_000_000
"""`VACUUM` took 5 s for 300 MB on a busy machine, and who writes waits for at most 30 s."""

_MOST_COUNTED = 2**31 - 1

T = TypeVar("T")

log = structlog.get_logger(__name__)


class Remains:
    """Removes what deleted rows leave in the files of one SQLite database.

    Args:
        connect: Opens the connection that writes, outside of a transaction; nothing else writes
            meanwhile. Yields the driver's connection.
    """

    def __init__(self, connect: Callable[[], AbstractAsyncContextManager[Any]]) -> None:
        self._connect = connect
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._has_more = False
        self._is_idle = False
        self._hurry = asyncio.Event()
        self._insists = False
        self._vacuuming: Any = None
        """The driver's connection while it runs a `VACUUM`."""

    async def count(self, session: AsyncSession) -> None:
        """Count a deletion, in its own transaction. Call `start` when that has ended."""
        counted = await session.scalar(text("PRAGMA user_version")) or 0
        await session.execute(text(f"PRAGMA user_version = {counted % _MOST_COUNTED + 1}"))

    async def resume(self) -> None:
        """Go on with what an earlier process left: with the log at once."""
        if await self._count():
            await self.empty_log()
            self.start()

    def start(self) -> None:
        """Remove in the background what there is, and repeat that until all is gone."""
        self._has_more = True
        if self._task is None or self._task.done():
            self._task = _apart(self._remove_all())

    async def empty_log(self, *, waits: bool = True) -> bool:
        """Truncate the log. Return False if others read or write for too long.

        Args:
            waits: Whether the first try waits for readers, which holds up writers for a moment.
        """
        return await _apart(self._empty_log(waits=waits))

    async def _empty_log(self, *, waits: bool) -> bool:
        for _ in range(TRIES_TO_EMPTY_LOG):
            if await self._checkpoint(waits=waits):
                return True
            if self._closing.is_set():
                break
            waits = False
            await self._pause(SECONDS_BETWEEN_TRIES)
        return False

    async def make_room(self) -> None:
        """Interrupt a `VACUUM` for somebody who writes, unless it was put off for long."""
        self._is_idle = False
        if self._vacuuming is not None and not self._insists:
            await self._vacuuming.interrupt()

    async def removed(self, *, at_once: bool = False) -> None:
        """Wait until everything is removed.

        Args:
            at_once: Don't wait until nobody writes.
        """
        if at_once:
            self._hurry.set()
        while self._task is not None and not self._task.done():
            await asyncio.wait([self._task])

    async def close(self) -> None:
        """End as soon as possible. The next start goes on."""
        self._closing.set()
        self._hurry.set()
        if self._vacuuming is not None:
            await self._vacuuming.interrupt()
        if self._task is not None:
            # Not cancelled: that would drop a connection whose thread still runs a statement.
            await asyncio.wait([self._task])

    async def _remove_all(self) -> None:
        pause = SECONDS_AFTER_FAILURE
        while self._has_more and not self._closing.is_set():
            self._has_more = False
            try:
                await self._remove()
            except (sqlite3.Error, SQLAlchemyError, OSError) as error:
                self._has_more = True
                if _is_passing(error):
                    await self._pause(SECONDS_AFTER_FAILURE)
                    continue
                log.warning("deleted data is not out of every file yet", reason=describe(error))
                await self._pause(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _remove(self) -> None:
        """Remove everything that is counted, and then count no more of it."""
        if not await self._count():
            return
        await self._empty_log_in_time()
        may_insist = await self._bytes() <= MOST_BYTES_TO_INSIST
        for waited in count():
            is_idle = await self._has_become_idle()
            self._insists = self._hurry.is_set() or (may_insist and waited >= LONGEST_WAIT)
            counted = await self._count()
            if self._closing.is_set():
                return
            if (is_idle or self._insists) and await self._vacuum():
                break
        if await self._empty_log_in_time():
            await self._settle(counted)

    async def _empty_log_in_time(self) -> bool:
        """Truncate the log, however long that takes. Return False only if the bot stops."""
        is_told = False
        while not await self.empty_log(waits=False):
            if self._closing.is_set():
                return False
            if not is_told:
                is_told = True
                log.warning("deleted data stays in the log while another program reads for long")
            await self._pause(SECONDS_BETWEEN_LATER_TRIES)
        return True

    async def _has_become_idle(self) -> bool:
        """Wait for a while, and return whether nothing was written meanwhile."""
        self._is_idle = True
        await _wait(self._hurry, IDLE_SECONDS)
        return self._is_idle

    async def _vacuum(self) -> bool:
        """Write every page anew. Return False if a write interrupted it."""
        async with self._connect() as driver:
            self._vacuuming = driver
            try:
                await driver.execute_fetchall("VACUUM")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                    raise
                return False
            finally:
                self._vacuuming = None
        return True

    async def _checkpoint(self, *, waits: bool) -> bool:
        """Truncate the log now, or return False if others hold it.

        Args:
            waits: Whether SQLite waits for readers, for `LOCK_TRY_SECONDS`. Nobody can write then.
        """
        async with self._connect() as driver:
            if not waits:
                await driver.execute_fetchall("PRAGMA busy_timeout = 0")
            try:
                rows = await driver.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)")
            except sqlite3.OperationalError as error:
                if is_busy(error):
                    return False
                raise
            finally:
                milliseconds = round(LOCK_TRY_SECONDS * 1000)
                await driver.execute_fetchall(f"PRAGMA busy_timeout = {milliseconds}")
        [(is_blocked, *_)] = rows  # https://sqlite.org/pragma.html#pragma_wal_checkpoint
        return not is_blocked

    async def _count(self) -> int:
        async with self._connect() as driver:
            [(counted,)] = await driver.execute_fetchall("PRAGMA user_version")
        return int(counted)

    async def _bytes(self) -> int:
        async with self._connect() as driver:
            [(pages,)] = await driver.execute_fetchall("PRAGMA page_count")
            [(size,)] = await driver.execute_fetchall("PRAGMA page_size")
        return int(pages) * int(size)

    async def _settle(self, counted: int) -> None:
        """Count from zero again, unless more was deleted meanwhile."""
        async with self._connect() as driver:
            await driver.execute_fetchall("BEGIN IMMEDIATE")
            try:
                [(now,)] = await driver.execute_fetchall("PRAGMA user_version")
                if now == counted:
                    await driver.execute_fetchall("PRAGMA user_version = 0")
                elif now:
                    self._has_more = True
            finally:
                await driver.execute_fetchall("COMMIT")

    async def _pause(self, seconds: float) -> None:
        """Wait; not any longer once the bot stops."""
        await _wait(self._closing, seconds)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event, for at most so many seconds."""
    waiting = asyncio.ensure_future(event.wait())
    await asyncio.wait([waiting], timeout=seconds)
    waiting.cancel()


def _apart(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Begin work in a context of its own, because it belongs to no command."""
    return Context().run(asyncio.create_task, work)


def _is_passing(error: BaseException) -> bool:
    """Whether it is only that others write."""
    return isinstance(error, sqlite3.OperationalError) and is_busy(error)
