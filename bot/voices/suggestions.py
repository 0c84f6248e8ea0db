"""The voices that are offered while somebody types."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sqlalchemy import select

from bot.storage.database import DatabaseUser, carried_out
from bot.voices.names import search_key
from bot.voices.queries import RECENT_FIRST
from bot.voices.sharing import shared_voices
from bot.voices.tables import ShareRow, VoiceRow

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Result, Select
    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import InstrumentedAttribute

    from bot.storage.database import Database
    from bot.voices.rights import Asker, SharedVoice

MAX_SUGGESTIONS = 25
"""Discord shows at most this many choices while someone types."""

MAX_AT_ONCE = 2
"""So many searches run at once. Others wait, so that they leave the database to what matters more,
and are not done at all if the person has typed on meanwhile."""


class Suggestions(DatabaseUser):
    """Searches voices by their names."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._at_once = asyncio.Semaphore(MAX_AT_ONCE)
        self._latest: dict[int, object] = {}
        """By the id of each person who waits for suggestions: the latest search of theirs."""

    async def search(
        self, asker: Asker, typed: str, *, limit: int = MAX_SUGGESTIONS
    ) -> tuple[list[str], list[SharedVoice]]:
        """Return what begins with what was typed so far, then what contains it.

        There is nothing if the person searches again before it is this search's turn.

        Args:
            asker: The person.
            typed: A part of a name.
            limit: The most to return; never more than `MAX_SUGGESTIONS`.

        Returns:
            The names of the person's own voices, the most recently used first. Then, if there is
            room, voices of others that the person may use where they are, in alphabetical order.
        """
        this = self._latest[asker.user_id] = object()
        try:
            async with self._at_once:
                if self._latest[asker.user_id] is not this:
                    return [], []
                return await self._search(asker, search_key(typed), min(limit, MAX_SUGGESTIONS))
        finally:
            if self._latest.get(asker.user_id) is this:
                del self._latest[asker.user_id]

    @carried_out
    async def _search(
        self, asker: Asker, part: str | None, limit: int
    ) -> tuple[list[str], list[SharedVoice]]:
        if part is None:
            return [], []
        # Searches read their index alone. What else is shown is read for the few that are found.
        own = select(VoiceRow.name_key, VoiceRow.id).where(VoiceRow.owner_id == asker.user_id)
        async with self._database.read() as session:
            found = await _matching(
                session, own.order_by(*RECENT_FIRST), VoiceRow.name_key, part, limit
            )
            names = await _names(session, [voice_id for _, voice_id in found])
            if asker.guild_id is None or len(found) == limit:
                return names, []
            others = await _shared(session, asker, asker.guild_id, part, limit - len(found))
            return names, await shared_voices(session, others, asker.guild_id)


async def _shared(
    session: AsyncSession, asker: Asker, guild_id: int, part: str, limit: int
) -> list[int]:
    """Return the ids of voices of others that a person may use in a server, as `search` does.

    What is shared with everyone is searched apart from the rest: with one audience, the index has
    the order that is wanted, so that no more is read than is shown.
    """
    found: set[tuple[str, int]] = set()
    here = (ShareRow.guild_id == guild_id, ShareRow.owner_id != asker.user_id)
    narrower = asker.audience_ids - {guild_id}
    with_everyone = (*here, ShareRow.audience_id == guild_id)
    with_some = (*here, ShareRow.audience_id.in_(narrower))
    for conditions in (with_everyone, with_some):
        shares = (
            select(ShareRow.name_key, ShareRow.voice_id)
            .where(*conditions)
            .order_by(ShareRow.name_key, ShareRow.voice_id)
        )
        if conditions is with_some:
            shares = shares.distinct()
        found.update(await _matching(session, shares, ShareRow.name_key, part, limit))
    ordered = sorted(found, key=lambda each: (not each[0].startswith(part), *each))
    return [voice_id for _, voice_id in ordered[:limit]]


async def _matching(
    session: AsyncSession,
    keys: Select[str, int],
    key: InstrumentedAttribute[str],
    part: str,
    limit: int,
) -> list[tuple[str, int]]:
    """Return keys that begin with a part, then those that contain it, each with its voice's id."""
    if not part:
        return _pairs(await session.execute(keys.limit(limit)))
    begins = key.startswith(part, autoescape=True)
    found = _pairs(await session.execute(keys.where(begins).limit(limit)))
    if len(found) < limit:
        contains = key.contains(part, autoescape=True)
        others = keys.where(contains, ~begins).limit(limit - len(found))
        found += _pairs(await session.execute(others))
    return found


def _pairs(rows: Result[str, int]) -> list[tuple[str, int]]:
    return [(key, voice_id) for key, voice_id in rows]


async def _names(session: AsyncSession, voice_ids: Collection[int]) -> list[str]:
    """Return the names of voices in the order of these ids."""
    if not voice_ids:
        return []
    query = select(VoiceRow.id, VoiceRow.name).where(VoiceRow.id.in_(voice_ids))
    names = {row.id: row.name for row in await session.execute(query)}
    return [names[voice_id] for voice_id in voice_ids if voice_id in names]
