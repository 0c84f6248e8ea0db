"""Writes that nobody waits for: they are done in order, and again until the database takes them."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import structlog

from bot.errors import Refusal
from bot.storage.errors import DatabaseFailedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from sqlalchemy.ext.asyncio import AsyncSession

    Write: TypeAlias = Callable[[AsyncSession], Awaitable[object]]

MOST_WAITING = 10_000
"""More writes than that are lost while the database takes none."""

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0
"""Between two tries; each pause is twice as long as the one before."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Waiting:
    """A write that has not been done yet.

    Attributes:
        what: What it stores, for the log.
        write: Does it in a transaction.
        written: Whether it was done, once that is settled.
    """

    what: str
    write: Write
    written: asyncio.Future[bool] = field(default_factory=asyncio.Future)


class BackgroundWrites:
    """Does writes later, in order. It never raises to who adds one.

    Args:
        transact: Does one write in a transaction of its own.
    """

    def __init__(self, transact: Callable[[Write], Awaitable[None]]) -> None:
        self._transact = transact
        self._waiting: dict[Hashable, _Waiting] = {}
        self._lost: Counter[str] = Counter()
        self._closing = asyncio.Event()
        self._is_closed = False
        self._task: asyncio.Task[None] | None = None

    def add(self, what: str, write: Write, key: Hashable | None = None) -> asyncio.Future[bool]:
        """Do a write later.

        Args:
            what: What it stores, in a word or two for the log.
            write: Called with a session, once or, after failures, several times.
            key: Of several writes that wait with one key, only the last is done.

        Returns:
            A future, which need not be awaited: True once it is written, False if it is lost, or
            was refused by the time that it was its turn. It never raises.
        """
        waiting = _Waiting(what, write)
        key = (what, key) if key is not None else waiting.written
        if (replaced := self._waiting.pop(key, None)) is not None:
            waiting.written = replaced.written
        elif len(self._waiting) >= MOST_WAITING or self._closing.is_set():
            self._lose(waiting)
            return waiting.written
        self._waiting[key] = waiting
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write_all())
        return waiting.written

    async def written(self) -> None:
        """Wait until everything that was added is written or lost."""
        while self._task is not None and not self._task.done():
            await asyncio.wait([self._task])

    async def close(self, within: float) -> None:
        """Write what waits, for at most so many seconds. What is left is lost, and logged."""
        self._closing.set()
        try:
            if self._task is not None:
                await asyncio.wait([self._task], timeout=within)
        finally:
            if self._task is not None:
                self._task.cancel()
            for waiting in self._waiting.values():
                self._lose(waiting)
            self._waiting.clear()
            self._is_closed = True
            self._log_losses()

    async def _write_all(self) -> None:
        pause, failures = FIRST_PAUSE_SECONDS, 0
        while self._waiting:
            key, waiting = next(iter(self._waiting.items()))
            try:
                is_written = await self._write(waiting)
            except DatabaseFailedError as error:
                failures += 1
                if failures == 1:
                    log.warning(
                        "the database takes no writes; they wait",
                        reason=error.why,
                        first=waiting.what,
                    )
                await self._pause(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
                continue
            if self._waiting.get(key) is waiting:  # it may have been replaced meanwhile
                del self._waiting[key]
                _settle(waiting, is_written=is_written)
            if failures:
                log.info("the database takes writes again", waiting=len(self._waiting))
                pause, failures = FIRST_PAUSE_SECONDS, 0
        self._log_losses()

    async def _write(self, waiting: _Waiting) -> bool:
        """Return whether it was written. Raises `DatabaseFailedError` if it has to be repeated."""
        try:
            await self._transact(waiting.write)
        except DatabaseFailedError:
            raise
        except Refusal:  # what it was about is gone
            return False
        except Exception:
            log.exception("a write failed, and is not repeated", what=waiting.what)
            return False
        return True

    async def _pause(self, seconds: float) -> None:
        """Wait before the next try; not as long while the bot stops."""
        if self._closing.is_set():
            seconds = FIRST_PAUSE_SECONDS
        closing = asyncio.ensure_future(self._closing.wait())
        await asyncio.wait([closing], timeout=seconds)
        closing.cancel()

    def _lose(self, waiting: _Waiting) -> None:
        _settle(waiting, is_written=False)
        if not self._lost and not self._closing.is_set():
            log.error("too many writes wait; the next ones are lost", waiting=len(self._waiting))
        self._lost[waiting.what] += 1
        if self._is_closed:
            self._log_losses()

    def _log_losses(self) -> None:
        if self._lost:
            log.error(
                "not written to the database", total=self._lost.total(), lost=dict(self._lost)
            )
            self._lost.clear()


def _settle(waiting: _Waiting, *, is_written: bool) -> None:
    if not waiting.written.done():  # whoever awaited it may have been cancelled
        waiting.written.set_result(is_written)
