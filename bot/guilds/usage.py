"""What was used, as it is shown to people."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, delete, select

from bot.guilds.records import DayUsage, Scope
from bot.guilds.tables import UsageDayRow
from bot.storage.database import DatabaseUser, carried_out

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.storage.database import Database


class Usage(DatabaseUser):
    """Tells what people, servers and everybody used today (UTC), and forgets what people used."""

    def __init__(
        self, database: Database, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        super().__init__(database)
        self._clock = clock

    @carried_out
    async def today(self, scope: Scope, scope_id: int) -> DayUsage:
        """Return what a person, a server or everybody used today, as far as it is counted by now.

        Args:
            scope: Which of these it is.
            scope_id: The Discord id of the person or server; 0 for everybody.
        """
        day = self._clock().date()
        async with self._database.read() as session:
            row = await session.get(UsageDayRow, (scope, scope_id, day))
            if row is not None:
                return row.to_usage()
        return DayUsage(scope, scope_id, day, seconds=0.0, requests=0, told_at=None)

    @carried_out
    async def keeps_anything_about(self, user_id: int) -> bool:
        """Return whether `forget` would erase anything."""
        async with self._database.read() as session:
            return (
                await session.scalar(select(UsageDayRow.day).where(self._before(user_id)))
                is not None
            )

    @carried_out
    async def forget(self, user_id: int) -> bool:
        """Forget what a person used before today; return if there was anything.

        What they used today still counts against limits.
        """
        forgotten = delete(UsageDayRow).where(self._before(user_id)).returning(UsageDayRow.day)
        async with self._database.erase() as session:
            return len((await session.scalars(forgotten)).all()) > 0

    def _before(self, user_id: int) -> ColumnElement[bool]:
        """The condition that it is what a person used before today."""
        is_theirs = (UsageDayRow.scope == Scope.PERSON) & (UsageDayRow.scope_id == user_id)
        return is_theirs & (UsageDayRow.day < self._clock().date())

    @carried_out
    async def top_servers(self, limit: int) -> list[DayUsage]:
        """Return what those servers used that used most today, the largest first."""
        query = (
            select(UsageDayRow)
            .where(UsageDayRow.day == self._clock().date(), UsageDayRow.scope == Scope.SERVER)
            .order_by(UsageDayRow.seconds.desc(), UsageDayRow.requests.desc())
            .limit(limit)
        )
        async with self._database.read() as session:
            return [row.to_usage() for row in await session.scalars(query)]
