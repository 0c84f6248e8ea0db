"""What is being done and was used, counted in the database against the limits.

What somebody asks for is a *work*: a row in a table, for as long as it is done, with the seconds of
speech that are reserved for it. Whether one more fits into the limits is decided under one lock, so
the limits hold over all processes. What was really made is added to the usage of the day on which
the work began; the reservation ends with the work. Speech that gets longer than was expected
reserves more, and ends where a limit is reached, unless it is nearly done. A process renews its
works regularly. Those of a process that was killed are dropped: what it had counted stays used.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from bot.errors import Note, Reason, Refusal, Remark
from bot.guilds.access import Actor
from bot.guilds.counting import (
    EVERYBODY,
    count_seconds,
    drop_old,
    standing_of,
    usage_keys,
    usage_on,
)
from bot.guilds.limits import LEAST_SECONDS, LITTLE_SHARE, next_day, timestamp
from bot.guilds.records import WorkKind
from bot.guilds.tables import RequestRow, UsageDayRow, WorkRow
from bot.storage.database import DatabaseUser
from bot.storage.errors import DatabaseFailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlalchemy.ext.asyncio import AsyncSession

    from bot.guilds.counting import UsageKey
    from bot.guilds.limits import Limits
    from bot.storage.database import Database

RENEW_SECONDS = 15.0

MORE_SECONDS = 30.0
"""So much speech is reserved at a time where there is more than was expected."""

SPARE_SECONDS = 1.0
"""More is reserved once this much more was made than is reserved."""

MOST_SHARE, MOST_EXTRA_SECONDS = 1.5, 5.0
"""Where a limit is reached, speech that was begun may still be so many times as long as expected,
and so much more, before it ends. Some speak slowly."""

_LOCK = "limits"


class Work:
    """Something that is being done for somebody, as `Ledger.begin` returns it.

    Args:
        ledger: Counts it.
        row: What is stored of it.
        limits: Those that hold for it.
        others: How many of the person's seconds of today are used already, or reserved for others
            of their works.

    Attributes:
        id: Never used for another work.
        user_id: For whom it is done.
        guild_id: In which server, or None for a direct message.
        kind: What it is.
        limits: Those that hold for it.
        reserved: How many seconds of speech it will probably need.
        started_at: In UTC.
        seconds: How many seconds of speech were made for it.
        counted: How many of these are in the day's usage by now.
        refusal: Why it may have no more speech; None while it may.
    """

    def __init__(
        self, ledger: Ledger, row: WorkRow, limits: Limits, *, others: float = 0.0
    ) -> None:
        self.id = row.id
        self.user_id = row.user_id
        self.guild_id = row.guild_id
        self.kind = WorkKind(row.kind)
        self.reserved = row.seconds
        self.started_at = row.started_at
        self.limits = limits
        self.seconds = 0.0
        self.counted = 0.0
        self.refusal: Refusal | None = None
        self._ledger = ledger
        self._others = others
        self._expected = row.seconds
        self._reserving: asyncio.Task[None] | None = None

    def made(self, seconds: float) -> None:
        """Count speech that was made.

        If that is more than was reserved, more is reserved meanwhile. Raises `Refusal` if a limit
        is reached, and what was made is far more than was expected.
        """
        self.seconds += seconds
        if self.refusal is not None:
            if self.seconds > MOST_SHARE * self._expected + MOST_EXTRA_SECONDS:
                raise Refusal(self.refusal.reason, **self.refusal.values)
            return
        is_reserving = self._reserving is not None and not self._reserving.done()
        if self.seconds > self.reserved + SPARE_SECONDS and not is_reserving:
            self._reserving = asyncio.create_task(self._ledger.reserve_more(self))

    def end(self) -> asyncio.Future[bool] | None:
        """End the work. Only the first call counts.

        What was reserved and not made is free again once that is written, see `Database.later`.
        Returns a future that tells whether it is, which need not be awaited; None if it had ended.
        """
        return self._ledger.end(self)

    async def little_left(self) -> Note | None:
        """Return a note for the person if little speech is left today; once a day."""
        limit = self.limits.seconds_per_person
        if limit is None:
            return None
        left = limit - self._others - self.seconds
        if left > LITTLE_SHARE * limit or not await self._ledger.tell(self):
            return None
        again = timestamp(next_day(self.started_at))
        if left < LEAST_SECONDS:
            return Note(Remark.NO_SPEECH_LEFT, {"again": again})
        return Note(Remark.LITTLE_SPEECH_LEFT, {"left": left, "again": again})

    @property
    def usage_keys(self) -> list[UsageKey]:
        """The days' usages in which it counts, first the person's: those of its first day."""
        if self.kind is WorkKind.CHANNEL:
            return []
        return usage_keys(self.user_id, self.guild_id, self.started_at.date())

    def to_row(self) -> WorkRow:
        """Return what is stored of it."""
        return WorkRow(
            id=self.id,
            user_id=self.user_id,
            guild_id=self.guild_id,
            kind=self.kind,
            seconds=self.reserved,
            counted=self.counted,
            started_at=self.started_at,
        )


class Ledger(DatabaseUser):
    """Counts seconds of speech, requests and concurrent work, over restarts and processes."""

    def __init__(
        self, database: Database, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        super().__init__(database)
        self._clock = clock
        self._open: dict[int, Work] = {}

    async def begin(self, actor: Actor, kind: WorkKind, seconds: float, limits: Limits) -> Work:
        """Begin something for a person, if it fits into the limits.

        All live speech of one server counts as one of the requests that run at the same time: it is
        heard one after the other, and its queue is bounded.

        Args:
            actor: The person, and where they are.
            kind: `WorkKind.REQUEST` or `WorkKind.LIVE`.
            seconds: How much speech it will probably need.
            limits: Those that hold there.

        Raises `Refusal` if a limit would be exceeded, or the database can't be written.
        """
        beginning = self._begin(actor, kind, seconds, limits)
        return self._keep(await self._database.carry_out(beginning))

    async def enter_channel(self, guild_id: int, limits: Limits) -> Work:
        """Begin to be in a voice channel of a server.

        Raises `Refusal` if the bot is in too many already, or the database can't be written.
        """
        return self._keep(await self._database.carry_out(self._enter_channel(guild_id, limits)))

    def end(self, work: Work) -> asyncio.Future[bool] | None:
        """End a work, see `Work.end`."""
        if self._open.pop(work.id, None) is None:
            return None

        async def write(session: AsyncSession) -> None:
            await self._database.lock(session, _LOCK)
            row = await session.get(WorkRow, work.id)
            # Without a row, it was dropped, or this is written a second time.
            await _count(session, [(work, row or work.to_row())])
            if row is not None:
                await session.delete(row)

        return self._database.later("usage", write)

    def renew(self) -> asyncio.Future[bool] | None:
        """Say that this process is alive, and count what its works have made by now.

        To be called every `RENEW_SECONDS`. Returns a future that tells whether it is written, which
        need not be awaited; None if nothing is being done.
        """
        if not self._open:
            return None

        async def write(session: AsyncSession) -> None:
            await self._database.lock(session, _LOCK)
            works, now = dict(self._open), self._clock()
            stored = await session.scalars(select(WorkRow).where(WorkRow.id.in_(list(works))))
            rows = {row.id: row for row in stored}
            for work in works.values():
                if work.id not in rows:  # it was dropped, and goes on nevertheless
                    rows[work.id] = work.to_row()
                    session.add(rows[work.id])
                rows[work.id].renewed_at = now
            await _count(session, [(work, rows[work.id]) for work in works.values()])

        return self._database.later("usage", write, key="renewal")

    async def reserve_more(self, work: Work) -> None:
        """Reserve more for a work of which more was made than is reserved, or refuse it more.

        If the database fails, that is not the end of its speech.
        """
        try:
            work.reserved = await self._database.carry_out(self._reserve_more(work))
        except DatabaseFailedError:  # it is tried again with the next speech
            pass
        except Refusal as refusal:
            work.refusal = refusal

    async def tell(self, work: Work) -> bool:
        """Note that a person is told how little is left. Returns False if they were, that day."""
        try:
            return await self._database.carry_out(self._tell(work))
        except DatabaseFailedError:  # they are told the next time
            return False

    def _keep(self, work: Work) -> Work:
        """Renew a work from now on.

        That is not done where it is stored: if the command is cancelled meanwhile, nobody would
        ever end it. So it is dropped after a while.
        """
        self._open[work.id] = work
        return work

    async def _begin(self, actor: Actor, kind: WorkKind, seconds: float, limits: Limits) -> Work:
        async with self._database.write() as session:
            await self._database.lock(session, _LOCK)
            now = self._clock()
            await drop_old(session, now, but=self._open)
            usage = await usage_on(session, actor, now.date())
            standing = await standing_of(session, actor, kind, usage, now)
            standing.check_minute(limits)
            standing.check(limits, seconds)
            session.add(RequestRow(user_id=actor.user_id, at=now))
            for day in usage.values():
                day.requests += 1
            row = _row(actor.user_id, actor.guild_id, kind, seconds, now)
            session.add(row)
            await session.flush()
            return Work(self, row, limits, others=standing.person_seconds)

    async def _enter_channel(self, guild_id: int, limits: Limits) -> Work:
        async with self._database.write() as session:
            await self._database.lock(session, _LOCK)
            now = self._clock()
            await drop_old(session, now, but=self._open)
            channels = select(func.count(WorkRow.guild_id.distinct())).where(
                WorkRow.kind == WorkKind.CHANNEL, WorkRow.guild_id != guild_id
            )
            count, limit = await session.scalar(channels) or 0, limits.voice_channels
            if limit is not None and count >= limit:
                raise Refusal(Reason.TOO_MANY_CHANNELS, count=count)
            row = _row(EVERYBODY, guild_id, WorkKind.CHANNEL, 0.0, now)
            session.add(row)
            await session.flush()
            return Work(self, row, limits)

    async def _reserve_more(self, work: Work) -> float:
        """Return how much is reserved for a work then. Raises `Refusal` if nothing is left."""
        async with self._database.write() as session:
            await self._database.lock(session, _LOCK)
            row = await session.get(WorkRow, work.id)
            if row is None:  # it was dropped, and is stored again when it is renewed
                return work.reserved
            await _count(session, [(work, row)])
            actor, began = Actor(work.user_id, work.guild_id), work.started_at
            usage = await usage_on(session, actor, began.date())
            standing = await standing_of(session, actor, work.kind, usage, began)
            left = standing.seconds_left(work.limits)
            row.seconds = row.counted + max(0.0, min(left, MORE_SECONDS))
            reserved = row.seconds
        standing.check_anything_left(work.limits)
        return reserved

    async def _tell(self, work: Work) -> bool:
        async with self._database.write() as session:
            row = await session.get(UsageDayRow, work.usage_keys[0], with_for_update=True)
            if row is None or row.told_at is not None:
                return False
            row.told_at = self._clock()
            return True


async def _count(session: AsyncSession, works: Iterable[tuple[Work, WorkRow]]) -> None:
    """Add what was made of works, and is not counted yet, to the days' usages."""
    made = []
    for work, row in works:
        made.append((work.usage_keys, work.seconds - row.counted))
        row.counted = work.counted = work.seconds
    await count_seconds(session, made)


def _row(
    user_id: int, guild_id: int | None, kind: WorkKind, seconds: float, now: datetime
) -> WorkRow:
    return WorkRow(
        user_id=user_id,
        guild_id=guild_id,
        kind=kind,
        seconds=seconds,
        counted=0.0,
        started_at=now,
        renewed_at=now,
    )
