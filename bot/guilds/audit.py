"""The audit log: who did what, when, with which voice, and never what was said."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, or_, select, update

from bot.guilds.records import AuditAction, AuditPage, VoiceUse, VoiceUsePage
from bot.guilds.tables import AuditRow, SecretRow
from bot.storage.database import DatabaseUser, carried_out

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncSession

    from bot.guilds.access import Actor
    from bot.guilds.records import AuditEntry
    from bot.storage.database import Database

KEY_NAME = "texts"
HASH_CHARACTERS = 32
ENTRIES_PER_PAGE = 10

USES = (
    AuditAction.CLONED,
    AuditAction.REPLACED,
    AuditAction.SPOKE_FILE,
    AuditAction.SPOKE_VOICE,
)
"""What people do with voices."""

ONES_OWN = (*USES, AuditAction.DELETED, AuditAction.SHARED, AuditAction.UNSHARED)
"""What people do with voices. It is forgotten with them; what moderators do is not."""


WITHOUT_NAME = (AuditAction.REPORTED, AuditAction.CLAIMED)
"""What a server's log doesn't say who has done."""


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
            text_hash = None if text is None else _hash(text, await self._make_key(session))
            session.add(
                AuditRow(
                    at=at,
                    action=action,
                    actor_id=actor_id,
                    guild_id=guild_id,
                    voice_id=voice_id,
                    owner_id=owner_id,
                    text_hash=text_hash,
                    details=details,
                )
            )

        return self._database.later("audit log", write)

    def note_own(  # noqa: PLR0913 - a line has these columns
        self,
        action: AuditAction,
        actor: Actor,
        voice_id: int | None,
        *,
        owner_id: int | None = None,
        text: str | None = None,
        details: str | None = None,
    ) -> asyncio.Future[bool]:
        """Note what a person did with a voice of their own, or one that is shared with them.

        Args:
            action: What happened.
            actor: The person, and where it was.
            voice_id: The voice; None for one that isn't saved.
            owner_id: Whose voice it is, if it isn't the person's own.
            text: What was said, if anything.
            details: A short code of our own that says more, if any; "api" by default for what was
                done over the HTTP API.
        """
        return self.note(
            action,
            actor_id=actor.user_id,
            guild_id=actor.guild_id,
            voice_id=voice_id,
            owner_id=actor.user_id if owner_id is None else owner_id,
            text=text,
            details="api" if details is None and actor.uses_api else details,
        )

    @carried_out
    async def page(
        self,
        guild_id: int,
        *,
        user_id: int | None = None,
        text: str | None = None,
        offset: int = 0,
        limit: int = ENTRIES_PER_PAGE,
    ) -> AuditPage:
        """Return a page of what happened in a server.

        Args:
            guild_id: The server.
            user_id: Only what this person did, or what was about them; not what they reported.
            text: Only where this was said, all of it; its case and its spaces don't matter.
            offset: How many lines to leave out, the latest first.
            limit: The most lines to return.
        """
        async with self._database.read() as session:
            wanted = AuditRow.guild_id == guild_id
            if user_id is not None:
                did = (AuditRow.actor_id == user_id) & AuditRow.action.not_in(WITHOUT_NAME)
                wanted &= or_(did, AuditRow.owner_id == user_id)
            if text is not None:
                key = await session.get(SecretRow, KEY_NAME)
                if key is None:
                    return AuditPage((), 0)
                wanted &= AuditRow.text_hash == _hash(text, key.value)
            total = await session.scalar(select(func.count(AuditRow.id)).where(wanted))
            latest = select(AuditRow).where(wanted).order_by(AuditRow.id.desc())
            rows = await session.scalars(latest.offset(offset).limit(limit))
            return AuditPage(tuple(row.to_entry() for row in rows), total or 0)

    @carried_out
    async def after(
        self,
        entry_id: int,
        *,
        guild_id: int | None = None,
        since: datetime | None = None,
        limit: int,
    ) -> tuple[AuditEntry, ...]:
        """Return entries with a larger id, in the order of their ids.

        Args:
            entry_id: The id.
            guild_id: Only of this server.
            since: Only what happened then or later.
            limit: The most entries to return.
        """
        wanted = AuditRow.id > entry_id
        if guild_id is not None:
            wanted &= AuditRow.guild_id == guild_id
        if since is not None:
            wanted &= AuditRow.at >= since
        async with self._database.read() as session:
            following = select(AuditRow).where(wanted).order_by(AuditRow.id).limit(limit)
            return tuple(row.to_entry() for row in await session.scalars(following))

    @carried_out
    async def last_id(self) -> int:
        """Return the id of the last entry; 0 if there is none."""
        async with self._database.read() as session:
            return await session.scalar(select(func.max(AuditRow.id))) or 0

    @carried_out
    async def voices_in(
        self, guild_id: int, *, owner_id: int | None = None, offset: int = 0, limit: int
    ) -> VoiceUsePage:
        """Return the voices that were made or used in a server.

        Args:
            guild_id: The server.
            owner_id: Only the voices of this person.
            offset: How many voices to leave out, the most recently used first.
            limit: The most voices to return.
        """
        wanted = _uses_in(guild_id)
        if owner_id is not None:
            wanted &= AuditRow.owner_id == owner_id
        last = func.max(AuditRow.id)
        uses = (
            select(
                AuditRow.voice_id, func.max(AuditRow.owner_id), func.count(), func.max(AuditRow.at)
            )
            .where(wanted)
            .group_by(AuditRow.voice_id)
            .order_by(last.desc())
        )
        count = select(func.count(AuditRow.voice_id.distinct())).where(wanted)
        async with self._database.read() as session:
            total = await session.scalar(count) or 0
            rows = await session.execute(uses.offset(offset).limit(limit))
            voices = [
                VoiceUse(voice_id, owner_id, count, last_at)
                for voice_id, owner_id, count, last_at in rows
                if voice_id is not None and owner_id is not None
            ]
            return VoiceUsePage(tuple(voices), total)

    @carried_out
    async def use_of(self, guild_id: int, voice_id: int) -> VoiceUse | None:
        """Return how a voice was used in a server; None if it was not, as far as is known."""
        wanted = _uses_in(guild_id) & (AuditRow.voice_id == voice_id)
        query = select(func.max(AuditRow.owner_id), func.count(), func.max(AuditRow.at)).where(
            wanted
        )
        async with self._database.read() as session:
            owner_id, uses, last_at = (await session.execute(query)).one()
            return None if owner_id is None else VoiceUse(voice_id, owner_id, uses, last_at)

    @carried_out
    async def keeps_anything_about(self, user_id: int) -> bool:
        """Return whether `forget` would erase anything."""
        own = _is_own_of(user_id) | _is_use_of_voice_of(user_id)
        theirs = select(AuditRow.id).where(own).limit(1)
        async with self._database.read() as session:
            return await session.scalar(theirs) is not None

    @carried_out
    async def forget(self, user_id: int) -> bool:
        """Erase who it was where a person used voices; return if there was anything.

        Where others used the person's voices, whose those were is erased. What moderators decided
        stays until it is old, and so does what the person reported.
        """
        own = (
            update(AuditRow)
            .where(_is_own_of(user_id))
            .values(actor_id=None, owner_id=None, text_hash=None)
        )
        was_theirs = update(AuditRow).where(_is_use_of_voice_of(user_id)).values(owner_id=None)
        is_found = False

        async def erase(session: AsyncSession) -> None:
            nonlocal is_found
            for lines in (own, was_theirs):
                erased = (await session.scalars(lines.returning(AuditRow.id))).all()
                is_found = is_found or bool(erased)

        # What was noted before may not be written yet, so it is erased after that, too. Either of
        # the two may come first, and finds what there is.
        self._database.later("audit log", erase)
        async with self._database.erase() as session:
            await erase(session)
        return is_found

    def drop_before(self, at: datetime) -> asyncio.Future[bool]:
        """Erase what happened before that time. It is done later, see `Database.later`."""
        old = delete(AuditRow).where(AuditRow.at < at)
        return self._database.later("end of old audit log", lambda session: session.execute(old))

    async def _make_key(self, session: AsyncSession) -> bytes:
        """Return the key of this database's hashes. It is made at the first call."""
        row = await session.get(SecretRow, KEY_NAME)
        if row is None:
            await self._database.lock(session, KEY_NAME)
            row = await session.get(SecretRow, KEY_NAME)  # another process may have made it
        if row is None:
            row = SecretRow(name=KEY_NAME, value=secrets.token_bytes(32))
            session.add(row)
            await session.flush()
        return row.value


def _uses_in(guild_id: int) -> ColumnElement[bool]:
    """The condition that a line says how a saved voice was used in a server, and whose it is."""
    return (
        (AuditRow.guild_id == guild_id)
        & AuditRow.voice_id.is_not(None)
        & AuditRow.owner_id.is_not(None)
        & AuditRow.action.in_(USES)
    )


def _is_own_of(user_id: int) -> ColumnElement[bool]:
    """The condition that a line says what a person did with voices."""
    return (AuditRow.actor_id == user_id) & AuditRow.action.in_(ONES_OWN)


def _is_use_of_voice_of(user_id: int) -> ColumnElement[bool]:
    """The condition that a line says that somebody used a person's voice."""
    return (AuditRow.owner_id == user_id) & AuditRow.action.in_(USES)


def _hash(text: str, key: bytes) -> str:
    words = " ".join(text.split()).casefold()
    return hmac.new(key, words.encode(), hashlib.sha256).hexdigest()[:HASH_CHARACTERS]
