"""Which message holds whose speech, so that it can be reported."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from bot.guilds.tables import PostRow
from bot.storage.database import DatabaseUser, carried_out

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncSession

    from bot.guilds.records import Post
    from bot.storage.database import Database


class Posts(DatabaseUser):
    """Keeps whose speech the bot's messages hold, for a while, and nothing of what was said."""

    def __init__(
        self, database: Database, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        super().__init__(database)
        self._clock = clock

    def note(  # noqa: PLR0913 - a message has these
        self,
        message_id: int,
        channel_id: int,
        guild_id: int | None,
        *,
        voice_id: int | None,
        owner_id: int,
        asker_id: int | None = None,
    ) -> asyncio.Future[bool]:
        """Note that a message with speech was posted now. It is written later.

        See `Database.later`.

        Args:
            message_id: The message.
            channel_id: Where it is.
            guild_id: The server, or None for a direct message.
            voice_id: The saved voice, or None for one without a name.
            owner_id: Whose voice it is.
            asker_id: Who had it said, if it isn't the owner of the voice.
        """
        at = self._clock()

        async def write(session: AsyncSession) -> None:
            await session.merge(
                PostRow(
                    message_id=message_id,
                    channel_id=channel_id,
                    guild_id=guild_id,
                    voice_id=voice_id,
                    owner_id=owner_id,
                    at=at,
                    asker_id=None if asker_id == owner_id else asker_id,
                )
            )

        return self._database.later("posts", write)

    @carried_out
    async def find(self, message_id: int) -> Post | None:
        """Return whose speech a message holds; None if it holds none, or is older than is kept."""
        async with self._database.read() as session:
            row = await session.get(PostRow, message_id)
            return None if row is None else row.to_post()

    @carried_out
    async def keeps_anything_about(self, user_id: int) -> bool:
        """Return whether `forget` would erase anything."""
        theirs = select(PostRow.message_id).where(_is_about(user_id)).limit(1)
        async with self._database.read() as session:
            return await session.scalar(theirs) is not None

    @carried_out
    async def forget(self, user_id: int) -> bool:
        """Forget which messages hold a person's voices, or what they had said.

        Return if there were any.
        """
        theirs = delete(PostRow).where(_is_about(user_id))
        # What was noted before may not be written yet.
        self._database.later("posts", lambda session: session.execute(theirs))
        async with self._database.erase() as session:
            forgotten = await session.scalars(theirs.returning(PostRow.message_id))
            return len(forgotten.all()) > 0

    def drop_before(self, at: datetime) -> asyncio.Future[bool]:
        """Forget the messages that were posted before that time. It is done later."""
        old = delete(PostRow).where(PostRow.at < at)
        return self._database.later("end of old posts", lambda session: session.execute(old))


def _is_about(user_id: int) -> ColumnElement[bool]:
    return (PostRow.owner_id == user_id) | (PostRow.asker_id == user_id)
