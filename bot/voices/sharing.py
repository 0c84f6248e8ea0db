"""Voices that their owners share in servers, and which voice somebody means there."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select, update

from bot.errors import Reason, Refusal
from bot.storage.database import DatabaseUser, carried_out
from bot.voices.names import lookup_key
from bot.voices.queries import locked_row, voices_where
from bot.voices.rights import (
    Audience,
    NamedShare,
    SharedPage,
    SharedVoice,
    VoiceRights,
    name_and_owner,
    number_in,
)
from bot.voices.tables import ConsentRow, ShareRow, VoiceRow

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncSession

    from bot.storage.database import Database
    from bot.voices.records import SavedVoice
    from bot.voices.rights import Asker, Share

MAX_SHARES = 100
"""Of one voice, in all servers together."""

MAX_BY_NAME = 100
"""So many voices that are shared with one person by name are looked at."""

MAX_NAMED = 5
"""So many voices of one name are listed for whoever has to choose."""


class Sharing(DatabaseUser):
    """Keeps who may use whose voice in which server. It holds at once in every process.

    Each call is one short transaction, which runs to its end even if the caller is cancelled. A
    call that breaks a rule raises `Refusal`. Blocks and frozen voices are not looked at here.
    """

    def __init__(
        self, database: Database, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        super().__init__(database)
        self._clock = clock

    @carried_out
    async def share(self, voice: SavedVoice, share: Share, *, owner_name: str) -> bool:
        """Let others use a voice in a server; return False if they could already.

        Args:
            voice: The voice, which whoever shares it owns.
            share: Where, and with whom.
            owner_name: The owner's username, which is shown beside the voice's name.
        """
        async with self._database.write() as session:
            await self._database.lock(session, f"shares of {voice.owner_id}")
            row = await locked_row(session, voice)
            known_as = update(ShareRow).where(ShareRow.owner_id == voice.owner_id)
            await session.execute(known_as.values(owner_name=owner_name))
            key = (voice.id, share.guild_id, share.audience_id)
            if await session.get(ShareRow, key) is not None:
                return False
            of_voice = select(func.count()).select_from(ShareRow).where(_of(voice))
            if (await session.scalar(of_voice) or 0) >= MAX_SHARES:
                raise Refusal(Reason.TOO_MANY_SHARES, limit=MAX_SHARES)
            session.add(
                ShareRow(
                    voice_id=voice.id,
                    guild_id=share.guild_id,
                    audience=share.audience,
                    audience_id=share.audience_id,
                    owner_id=voice.owner_id,
                    owner_name=owner_name,
                    name_key=row.name_key,
                    created_at=self._clock(),
                )
            )
            return True

    @carried_out
    async def unshare(
        self, voice: SavedVoice, *, guild_id: int | None = None, audience_id: int | None = None
    ) -> int:
        """Share a voice no more; return how many shares have ended.

        Args:
            voice: The voice, which whoever ends that owns.
            guild_id: Only in this server; None for every server.
            audience_id: Only with this audience, see `Share`; None for all.
        """
        ended = delete(ShareRow).where(_of(voice))
        if guild_id is not None:
            ended = ended.where(ShareRow.guild_id == guild_id)
        if audience_id is not None:
            ended = ended.where(ShareRow.audience_id == audience_id)
        async with self._database.write() as session:
            return len((await session.scalars(ended.returning(ShareRow.audience_id))).all())

    @carried_out
    async def rights(self, voice_ids: Collection[int]) -> dict[int, VoiceRights]:
        """Return who may use these voices, by their ids; without those that were deleted."""
        async with self._database.read() as session:
            return await rights_among(session, voice_ids)

    @carried_out
    async def find(self, asker: Asker, reference: str) -> SavedVoice:
        """Return the voice that a person means, of those that they may use where they are.

        Args:
            asker: The person.
            reference: A name, of which their own voices' come first; or a `SharedVoice.label`; or a
                number such as "#12", also at the end of a `SharedVoice.reference`.
        """
        async with self._database.read() as session:
            voice_id = await self._meant(session, asker, reference)
            voice = await session.scalar(voices_where(VoiceRow.id == voice_id))
            if voice is None:  # it was deleted between two reads, on PostgreSQL
                raise Refusal(Reason.NO_VOICE_TO_USE)
            return voice.to_saved_voice()

    async def _meant(self, session: AsyncSession, asker: Asker, reference: str) -> int:
        key = lookup_key(reference)
        if key is None:
            raise Refusal(Reason.NO_VOICE_TO_USE)
        own = select(VoiceRow.id).where(
            VoiceRow.owner_id == asker.user_id, VoiceRow.name_key == key
        )
        if (voice_id := await session.scalar(own)) is not None:
            return voice_id
        if (number := number_in(reference)) is not None:
            found = (await rights_among(session, (number,))).get(number)
            refusal = Refusal(Reason.VOICE_NOT_SHARED) if found is None else found.refusal(asker)
            if refusal is None:
                return number
        else:
            refusal = Refusal(Reason.NO_VOICE_TO_USE)
        named = await self._named(session, asker, key)
        if not named and (names := name_and_owner(reference)) is not None:
            key, owner = lookup_key(names[0]) or key, names[1].casefold()
            with_name = await self._named(session, asker, key)
            named = [voice for voice in with_name if voice.owner_name.casefold() == owner]
        if not named:
            raise refusal
        if len(named) > 1:
            choices = ", ".join(voice.label for voice in named[:MAX_NAMED])
            raise Refusal(Reason.SEVERAL_VOICES, voices=choices)
        return named[0].id

    async def _named(self, session: AsyncSession, asker: Asker, key: str) -> list[SharedVoice]:
        """The voices of others that a person may use here and that have this key."""
        query = (
            select(ShareRow.voice_id)
            .where(*counting_for(asker), ShareRow.name_key == key)
            .order_by(ShareRow.voice_id)
        )
        ids = dict.fromkeys(await session.scalars(query))
        return await shared_voices(session, list(ids), asker.guild_id)

    @carried_out
    async def page(self, asker: Asker, *, offset: int = 0, limit: int = 10) -> SharedPage:
        """Return some of the voices of others that a person may use where they are."""
        return await self._page(asker.guild_id, counting_for(asker), offset, limit)

    @carried_out
    async def open_to_all(self, guild_id: int, *, offset: int = 0, limit: int = 25) -> SharedPage:
        """Return some of the voices that are shared with a whole server."""
        everyone = [ShareRow.guild_id == guild_id, ShareRow.audience_id == guild_id]
        return await self._page(guild_id, everyone, offset, limit)

    @carried_out
    async def open_voice(self, guild_id: int, voice_id: int) -> SharedVoice | None:
        """Return a voice if it is shared with a whole server, or None."""
        async with self._database.read() as session:
            rights = (await rights_among(session, (voice_id,))).get(voice_id)
            if rights is None or not rights.is_open_to(guild_id):
                return None
            return next(iter(await shared_voices(session, (voice_id,), guild_id)), None)

    @carried_out
    async def by_name(self, user_id: int) -> list[NamedShare]:
        """Return which voices are shared with a person by name, in all servers.

        They are in alphabetical order. Whether the person is still in the server isn't known here.
        """
        query = (
            select(
                VoiceRow.id,
                VoiceRow.owner_id,
                ShareRow.owner_name,
                VoiceRow.name,
                VoiceRow.language,
                ConsentRow.statement_version,
                ShareRow.guild_id,
                ShareRow.created_at,
            )
            .join(ShareRow, ShareRow.voice_id == VoiceRow.id)
            .join(ConsentRow, ConsentRow.id == VoiceRow.consent_id)
            .where(
                ShareRow.audience_id == user_id,
                ShareRow.audience == Audience.MEMBER,
                ShareRow.owner_id != user_id,
            )
            .order_by(ShareRow.name_key, ShareRow.voice_id, ShareRow.guild_id)
            .limit(MAX_BY_NAME)
        )
        async with self._database.read() as session:
            return [
                NamedShare(SharedVoice(*row[:6]), row[6], row[7])
                for row in await session.execute(query)
            ]

    async def _page(
        self, guild_id: int | None, which: Sequence[ColumnElement[bool]], offset: int, limit: int
    ) -> SharedPage:
        ids = (
            select(ShareRow.voice_id)
            .where(*which)
            .group_by(ShareRow.voice_id, ShareRow.name_key)
            .order_by(ShareRow.name_key, ShareRow.voice_id)
        )
        count = select(func.count(ShareRow.voice_id.distinct())).where(*which)
        async with self._database.read() as session:
            total = await session.scalar(count) or 0
            of_page = list(await session.scalars(ids.offset(offset).limit(limit)))
            return SharedPage(tuple(await shared_voices(session, of_page, guild_id)), total)


def counting_for(asker: Asker) -> tuple[ColumnElement[bool], ...]:
    """The conditions that a share lets a person use somebody else's voice where they are.

    It says the same as `VoiceRights.refusal`, for a search.
    """
    return (
        ShareRow.guild_id == asker.guild_id,
        ShareRow.audience_id.in_(asker.audience_ids),
        ShareRow.owner_id != asker.user_id,
    )


async def rights_among(session: AsyncSession, voice_ids: Collection[int]) -> dict[int, VoiceRights]:
    """Return who may use these voices, by their ids; without those that were deleted."""
    owners = select(VoiceRow.id, VoiceRow.owner_id).where(VoiceRow.id.in_(voice_ids))
    shares: dict[int, set[Share]] = {}
    # Shares come first: a voice that was just shared is there then.
    for row in await session.scalars(select(ShareRow).where(ShareRow.voice_id.in_(voice_ids))):
        shares.setdefault(row.voice_id, set()).add(row.to_share())
    return {
        voice_id: VoiceRights(voice_id, owner_id, frozenset(shares.get(voice_id, ())))
        for voice_id, owner_id in await session.execute(owners)
    }


async def shared_voices(
    session: AsyncSession, voice_ids: Sequence[int], guild_id: int | None
) -> list[SharedVoice]:
    """Return what others see of voices that are shared in a server, in the order of these ids."""
    if not voice_ids:
        return []
    query = (
        select(
            VoiceRow.id,
            VoiceRow.owner_id,
            func.min(ShareRow.owner_name),
            VoiceRow.name,
            VoiceRow.language,
            func.min(ConsentRow.statement_version),
        )
        .join(ShareRow, ShareRow.voice_id == VoiceRow.id)
        .join(ConsentRow, ConsentRow.id == VoiceRow.consent_id)
        .where(VoiceRow.id.in_(voice_ids), ShareRow.guild_id == guild_id)
        .group_by(VoiceRow.id)
    )
    known = {row[0]: SharedVoice(*row) for row in await session.execute(query)}
    return [known[voice_id] for voice_id in voice_ids if voice_id in known]


def _of(voice: SavedVoice) -> ColumnElement[bool]:
    """The condition that a share is of this voice, and of its owner."""
    return (ShareRow.voice_id == voice.id) & (ShareRow.owner_id == voice.owner_id)
