"""Which voice a person uses if they name none."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import delete, update

from bot.storage.database import DatabaseUser, carried_out
from bot.voices.queries import RECENT_FIRST, is_voice, locked_row, voices_of, voices_where
from bot.voices.rights import Asker
from bot.voices.sharing import rights_among
from bot.voices.tables import DefaultVoiceRow, SharedUseRow, VoiceRow

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from sqlalchemy.ext.asyncio import AsyncSession

    from bot.storage.database import Database
    from bot.voices.records import SavedVoice

    WhoWhere = tuple[int, int | None]
    """A person and a server; None for voices of their own, wherever they are used."""


class Why(Enum):
    """Why a voice is the one that is used if none is named."""

    CHOSEN = auto()
    """The person chose it."""

    USED_LAST = auto()
    """The person used it last, or it is the newest of their own."""

    SERVERS = auto()
    """The server's admins chose it."""


@dataclass(frozen=True, slots=True)
class DefaultVoice:
    """The voice that is used if none is named.

    Attributes:
        voice: The voice. Whether it may still be used has to be checked.
        why: Why it is that one.
    """

    voice: SavedVoice
    why: Why


class DefaultVoices(DatabaseUser):
    """Keeps which voice people chose for when they name none, and which they used last."""

    def __init__(
        self, database: Database, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        super().__init__(database)
        self._clock = clock
        self._just_used: dict[WhoWhere, tuple[int, datetime]] = {}
        """The voice that was used last, and when, where that is not written yet."""

    @carried_out
    async def choose(self, asker: Asker, voice: SavedVoice) -> None:
        """Use a voice for a person if they name none. Somebody else's counts in this server."""
        is_own = voice.owner_id == asker.user_id
        async with self._database.write() as session:
            await locked_row(session, voice)
            await session.merge(
                DefaultVoiceRow(
                    user_id=asker.user_id,
                    voice_id=voice.id,
                    guild_id=None if is_own else asker.guild_id,
                )
            )

    @carried_out
    async def clear(self, user_id: int) -> bool:
        """Forget which voice a person chose; return whether they had."""
        chosen = delete(DefaultVoiceRow).where(DefaultVoiceRow.user_id == user_id)
        async with self._database.write() as session:
            return await session.scalar(chosen.returning(DefaultVoiceRow.user_id)) is not None

    @carried_out
    async def voice_for(
        self, asker: Asker, *, servers_choice: int | None = None
    ) -> DefaultVoice | None:
        """Return the voice that a person uses if they name none, or None if there is none.

        It is the one that they chose; or else the one that they used last here, or the newest of
        their own; or else the server's. A voice that they chose or used here and may not use any
        more is returned, too: whoever speaks with another voice by surprise can't take that back.

        Args:
            asker: The person.
            servers_choice: The id of the voice that the server's admins chose, if they did. It has
                to be shared with the whole server.
        """
        async with self._database.read() as session:
            chosen = await session.get(DefaultVoiceRow, asker.user_id)
            if chosen is not None and await self._counts_here(session, asker, chosen):
                voice = await session.scalar(voices_where(VoiceRow.id == chosen.voice_id))
                if voice is not None:
                    return DefaultVoice(voice.to_saved_voice(), Why.CHOSEN)
            used = await self._used_last(session, asker)
            if used is not None:
                return DefaultVoice(used.to_saved_voice(), Why.USED_LAST)
            if servers_choice is None or asker.guild_id is None:
                return None
            rights = (await rights_among(session, (servers_choice,))).get(servers_choice)
            if rights is None or not rights.is_open_to(asker.guild_id):
                return None
            voice = await session.scalar(voices_where(VoiceRow.id == servers_choice))
            return None if voice is None else DefaultVoice(voice.to_saved_voice(), Why.SERVERS)

    async def _counts_here(
        self, session: AsyncSession, asker: Asker, chosen: DefaultVoiceRow
    ) -> bool:
        """Whether the voice that a person chose is meant where they are now."""
        if chosen.guild_id in {None, asker.guild_id}:
            return True
        rights = (await rights_among(session, (chosen.voice_id,))).get(chosen.voice_id)
        return rights is not None and rights.refusal(asker) is None

    async def _used_last(self, session: AsyncSession, asker: Asker) -> VoiceRow | None:
        """The voice that a person used last where they are, or else the newest of their own."""
        person, where = asker.user_id, (asker.user_id, asker.guild_id)
        own_id, own_at = self._just_used.get((person, None), (0, None))
        just_used = VoiceRow.id == own_id
        query = voices_of(person).order_by(just_used.desc(), *RECENT_FIRST).limit(1)
        own = await session.scalar(query)
        if asker.guild_id is None:
            return own
        if own is None or own.id != own_id:
            own_at = None if own is None else own.last_used_at
        row = await session.get(SharedUseRow, where)
        shared = (row.voice_id, row.used_at) if row is not None else None
        shared_id, shared_at = self._just_used.get(where, shared or (0, None))
        if shared_at is None or (own_at is not None and own_at > shared_at):
            return own
        others = await session.scalar(voices_where(VoiceRow.id == shared_id))
        return own if others is None else others

    @carried_out
    async def has_borrowed(self, asker: Asker) -> bool:
        """Return whether a person has used a voice of somebody else where they are.

        It isn't known any more once the voice that they used last there was deleted.
        """
        if asker.guild_id is None:
            return False
        where = (asker.user_id, asker.guild_id)
        if where in self._just_used:
            return True
        async with self._database.read() as session:
            return await session.get(SharedUseRow, where) is not None

    def touch(self, voice: SavedVoice, asker: Asker | None = None) -> asyncio.Future[bool]:
        """Record that a voice is used now. It is written later, see `Database.later`.

        From this moment, `voice_for` returns it.

        Args:
            voice: The voice.
            asker: Who uses it, and where; by default its owner.
        """
        now = self._clock()
        asker = asker or Asker(voice.owner_id)
        where: WhoWhere = (asker.user_id, None)
        if voice.owner_id == asker.user_id:
            used_now = update(VoiceRow).where(is_voice(voice)).values(last_used_at=now)
            written = self._database.later(
                "last use", lambda session: session.execute(used_now), key=voice.id
            )
        else:
            where = (asker.user_id, asker.guild_id)
            written = self._touch_shared(voice, asker, now)
        self._just_used[where] = (voice.id, now)
        written.add_done_callback(partial(self._forget_use, where, voice.id))
        return written

    def _touch_shared(self, voice: SavedVoice, asker: Asker, now: datetime) -> asyncio.Future[bool]:
        async def write(session: AsyncSession) -> None:
            await locked_row(session, voice)
            await session.merge(
                SharedUseRow(
                    user_id=asker.user_id,
                    guild_id=asker.guild_id,
                    voice_id=voice.id,
                    used_at=now,
                )
            )

        key = (asker.user_id, asker.guild_id)
        return self._database.later("last use of a shared voice", write, key=key)

    def _forget_use(self, where: WhoWhere, voice_id: int, written: asyncio.Future[bool]) -> None:
        """Leave it to the database which voice was used last, once it knows."""
        is_known = not written.cancelled() and written.result()
        if is_known and self._just_used.get(where, (0,))[0] == voice_id:
            del self._just_used[where]
