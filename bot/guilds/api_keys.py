"""The keys with which people use the HTTP API. Each stands for one person."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from hmac import compare_digest
from typing import TYPE_CHECKING

from sqlalchemy import delete, select, update

from bot.guilds.tables import ApiKeyRow
from bot.storage.database import DatabaseUser, carried_out

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.guilds.records import ApiKey
    from bot.storage.database import Database

PREFIX = "timbre_"
"""With this each key begins, so that people and programs that look for leaked keys know it."""

MAX_NAME_CHARACTERS = 64
_RANDOM_BYTES = 32
_USE_IS_NOTED_EVERY = timedelta(minutes=1)


def hash_of(key: str) -> str:
    """Return what is stored of a key. It needs no salt, because a key is long and random."""
    return sha256(key.encode()).hexdigest()


class ApiKeys(DatabaseUser):
    """Stores the hashes of keys, and for whom each key is."""

    def __init__(
        self, database: Database, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        super().__init__(database)
        self._clock = clock

    @carried_out
    async def create(self, user_id: int, name: str = "") -> tuple[str, ApiKey]:
        """Make a key for a person. Nobody can see it again later.

        Args:
            user_id: The person's Discord id.
            name: What it is for, at most `MAX_NAME_CHARACTERS`.

        Returns:
            The key, and what is stored of it.
        """
        key = PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
        row = ApiKeyRow(user_id=user_id, key_hash=hash_of(key), name=name, created_at=self._clock())
        async with self._database.write() as session:
            session.add(row)
            await session.flush()
            return key, row.to_key()

    @carried_out
    async def find(self, key: str) -> ApiKey | None:
        """Return whose key it is, or None if there is no such key."""
        if not key.startswith(PREFIX):
            return None
        hashed = hash_of(key)
        async with self._database.read() as session:
            row = await session.scalar(select(ApiKeyRow).where(ApiKeyRow.key_hash == hashed))
            if row is None or not compare_digest(row.key_hash, hashed):
                return None
            found = row.to_key()
        self._note_use(found)
        return found

    def _note_use(self, key: ApiKey) -> None:
        """Note that a key is used, once a minute. It is written later."""
        now = self._clock()
        if key.last_used_at is not None and now - key.last_used_at < _USE_IS_NOTED_EVERY:
            return
        used = update(ApiKeyRow).where(ApiKeyRow.id == key.id).values(last_used_at=now)
        self._database.later("use of keys", lambda session: session.execute(used), key=key.id)

    @carried_out
    async def all(self, user_id: int | None = None) -> list[ApiKey]:
        """Return a person's keys, or everybody's, the oldest first."""
        query = select(ApiKeyRow).order_by(ApiKeyRow.id)
        if user_id is not None:
            query = query.where(ApiKeyRow.user_id == user_id)
        async with self._database.read() as session:
            return [row.to_key() for row in await session.scalars(query)]

    @carried_out
    async def any(self) -> bool:
        """Return whether there is a key."""
        async with self._database.read() as session:
            return await session.scalar(select(ApiKeyRow.id).limit(1)) is not None

    @carried_out
    async def revoke(self, key_id: int) -> ApiKey | None:
        """Delete a key, which holds at once; return what it was, or None if it isn't there."""
        async with self._database.write() as session:
            row = await session.get(ApiKeyRow, key_id)
            if row is None:
                return None
            revoked = row.to_key()
            await session.delete(row)
            return revoked

    @carried_out
    async def keeps_anything_about(self, user_id: int) -> bool:
        """Return whether `forget` would erase anything."""
        theirs = select(ApiKeyRow.id).where(ApiKeyRow.user_id == user_id).limit(1)
        async with self._database.read() as session:
            return await session.scalar(theirs) is not None

    @carried_out
    async def forget(self, user_id: int) -> bool:
        """Delete a person's keys; return if there were any."""
        theirs = delete(ApiKeyRow).where(ApiKeyRow.user_id == user_id).returning(ApiKeyRow.id)
        async with self._database.erase() as session:
            return len((await session.scalars(theirs)).all()) > 0
