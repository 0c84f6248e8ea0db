"""The audit log: who did what, when, with which voice, and never what was said."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bot.guilds.tables import AuditRow, SecretRow
from bot.storage.database import DatabaseUser

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from sqlalchemy.ext.asyncio import AsyncSession

    from bot.guilds.records import AuditAction
    from bot.storage.database import Database

KEY_NAME = "texts"
HASH_CHARACTERS = 32


class AuditLog(DatabaseUser):
    """Keeps one line for each thing that happened, for a while."""

    def __init__(
        self, database: Database, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        super().__init__(database)
        self._clock = clock

    def note(  # noqa: PLR0913 - a line has these columns
        self,
        action: AuditAction,
        *,
        actor_id: int | None,
        guild_id: int | None,
        voice_id: int | None = None,
        owner_id: int | None = None,
        text: str | None = None,
        details: str | None = None,
    ) -> asyncio.Future[bool]:
        """Note that something happened now. It is written later, see `Database.later`.

        Args:
            action: What happened.
            actor_id: Who did it; None for the operator's command line.
            guild_id: In which server, or None for a direct message or the command line.
            voice_id: Which voice it was about, if any.
            owner_id: Whose voice, or which person it was about, if any.
            text: What was said, if anything. Only its keyed hash is stored.
            details: A short code of our own that says more, if any.
        """
        at = self._clock()

        async def write(session: AsyncSession) -> None:
            key = await _key(session) if text is not None else b""
            session.add(
                AuditRow(
                    at=at,
                    action=action,
                    actor_id=actor_id,
                    guild_id=guild_id,
                    voice_id=voice_id,
                    owner_id=owner_id,
                    text_hash=None if text is None else _hash(text, key),
                    details=details,
                )
            )

        return self._database.later("audit log", write)


async def _key(session: AsyncSession) -> bytes:
    """Return the key of this database's hashes. It is made at the first call."""
    row = await session.get(SecretRow, KEY_NAME)
    if row is None:
        row = SecretRow(name=KEY_NAME, value=secrets.token_bytes(32))
        session.add(row)
        await session.flush()
    return row.value


def _hash(text: str, key: bytes) -> str:
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()[:HASH_CHARACTERS]
