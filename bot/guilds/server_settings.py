"""What the admins of each server decided."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bot.guilds.records import ServerSettings
from bot.guilds.tables import ServerSettingsRow
from bot.storage.database import DatabaseUser, carried_out

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.storage.database import Database


class SettingsOfServers(DatabaseUser):
    """Keeps the settings of servers. A change holds at once in every process.

    Each call is one short transaction, which runs to its end even if the caller is cancelled. Who
    may change settings is checked by the caller, who also notes it in the audit log.
    """

    def __init__(
        self, database: Database, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        super().__init__(database)
        self._clock = clock

    @carried_out
    async def of(self, guild_id: int) -> ServerSettings:
        """Return a server's settings; the defaults if nothing was decided."""
        async with self._database.read() as session:
            row = await session.get(ServerSettingsRow, guild_id)
            return ServerSettings() if row is None else row.to_settings()

    @carried_out
    async def change(
        self, guild_id: int, update: Callable[[ServerSettings], ServerSettings]
    ) -> ServerSettings:
        """Change a server's settings; return them as they are now.

        Args:
            guild_id: The server.
            update: Returns the new settings, given those that hold. What others change at the same
                time is kept.
        """
        async with self._database.write() as session:
            await self._database.lock(session, f"settings of {guild_id}")
            row = await session.get(ServerSettingsRow, guild_id)
            changed = update(ServerSettings() if row is None else row.to_settings())
            if row is None:
                row = ServerSettingsRow(guild_id=guild_id)
                session.add(row)
            for name, value in asdict(changed).items():
                setattr(row, name, value)
            row.changed_at = self._clock()
            return changed
