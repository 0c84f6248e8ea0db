"""What the admins of each server decided."""

from __future__ import annotations

from bot.guilds.records import ServerSettings
from bot.guilds.tables import ServerSettingsRow
from bot.storage.database import DatabaseUser, carried_out


class SettingsOfServers(DatabaseUser):
    """Keeps the settings of servers."""

    @carried_out
    async def of(self, guild_id: int) -> ServerSettings:
        """Return a server's settings; the defaults if nothing was decided."""
        async with self._database.read() as session:
            row = await session.get(ServerSettingsRow, guild_id)
            return ServerSettings() if row is None else row.to_settings()
