"""Who is blocked, and which voices are frozen or removed, in a server or everywhere."""

from __future__ import annotations

from sqlalchemy import func, select

from bot.guilds.records import EVERYWHERE
from bot.guilds.tables import BlockRow
from bot.storage.database import DatabaseUser, carried_out


class Moderation(DatabaseUser):
    """Keeps blocks and frozen voices. What it decides holds at once in every process."""

    @carried_out
    async def is_blocked(self, user_id: int, guild_id: int | None) -> int | None:
        """Return where a person is blocked who does something now.

        Args:
            user_id: The person.
            guild_id: The server where they are, or None for a direct message.

        Returns:
            `EVERYWHERE`, or else the server's id, or None if they are not blocked.
        """
        places = {EVERYWHERE} if guild_id is None else {EVERYWHERE, guild_id}
        blocked = select(func.min(BlockRow.guild_id)).where(
            BlockRow.user_id == user_id, BlockRow.guild_id.in_(places)
        )
        async with self._database.read() as session:
            return await session.scalar(blocked)
