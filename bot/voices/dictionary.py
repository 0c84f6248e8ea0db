"""How words are to be pronounced: each person's own dictionary, and one for each server."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import Select, delete, func, select

from bot.errors import Reason, Refusal
from bot.storage.database import DatabaseUser, carried_out
from bot.text import plain_words, word_key
from bot.voices.records import DictionaryPage, Pronunciation, Whose
from bot.voices.tables import PronunciationRow

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.storage.database import Database

MAX_WORD_CHARACTERS = 40
MAX_SPOKEN_CHARACTERS = 100
MAX_SUGGESTIONS = 25


MAX_WORDS = {Whose.PERSON: 100, Whose.SERVER: 300}
"""The most words of one dictionary."""


class Dictionaries(DatabaseUser):
    """Stores what is to be said for which words.

    Each call is one short transaction, which runs to its end even if the caller is cancelled. A
    call that breaks a rule raises `Refusal`. Who may change a server's dictionary is checked by the
    caller.
    """

    def __init__(
        self, database: Database, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        super().__init__(database)
        self._clock = clock

    @carried_out
    async def add(self, whose: Whose, owner_id: int, word: str, spoken: str) -> Pronunciation:
        """Store what is to be said for a word. It replaces what was stored for that word.

        Args:
            whose: The kind of dictionary.
            owner_id: The Discord id of the person or server that it belongs to.
            word: As typed; its case does not matter.
            spoken: As typed; Discord's markup in both is replaced, as in texts.
        """
        shown, to_say = plain_words(word), plain_words(spoken)
        if not shown or not to_say:
            raise Refusal(Reason.WORD_NOT_SPEAKABLE)
        if len(shown) > MAX_WORD_CHARACTERS or len(to_say) > MAX_SPOKEN_CHARACTERS:
            raise Refusal(
                Reason.WORD_TOO_LONG, word=MAX_WORD_CHARACTERS, spoken=MAX_SPOKEN_CHARACTERS
            )
        key = word_key(shown)
        async with self._database.write() as session:
            await self._database.lock(session, f"{whose}/{owner_id}")
            row = await session.scalar(_of(whose, owner_id).where(PronunciationRow.word_key == key))
            if row is None:
                count = select(func.count()).select_from(_of(whose, owner_id).subquery())
                if (await session.scalar(count) or 0) >= MAX_WORDS[whose]:
                    raise Refusal(Reason.DICTIONARY_FULL, limit=MAX_WORDS[whose])
                row = PronunciationRow(whose=whose, owner_id=owner_id, word_key=key)
                session.add(row)
            row.word, row.spoken, row.created_at = shown, to_say, self._clock()
            return row.to_pronunciation()

    @carried_out
    async def remove(self, whose: Whose, owner_id: int, word: str) -> Pronunciation:
        """Forget what is to be said for a word. Raises `Refusal` if nothing was stored."""
        query = _of(whose, owner_id).where(PronunciationRow.word_key == word_key(plain_words(word)))
        async with self._database.erase() as session:
            row = await session.scalar(query)
            if row is None:
                raise Refusal(Reason.NO_SUCH_WORD)
            removed = row.to_pronunciation()
            await session.execute(delete(PronunciationRow).where(PronunciationRow.id == row.id))
        await self._database.erase_remains()
        return removed

    @carried_out
    async def page(
        self, whose: Whose, owner_id: int, *, offset: int = 0, limit: int = 10
    ) -> DictionaryPage:
        """Return some words of a dictionary, in alphabetical order."""
        query = _of(whose, owner_id).order_by(PronunciationRow.word_key)
        async with self._database.read() as session:
            total = await session.scalar(select(func.count()).select_from(query.subquery())) or 0
            rows = await session.scalars(query.offset(offset).limit(limit))
            return DictionaryPage(tuple(row.to_pronunciation() for row in rows), total)

    @carried_out
    async def suggest(self, whose: Whose, owner_id: int, typed: str) -> list[Pronunciation]:
        """Return the words that contain what was typed so far, at most `MAX_SUGGESTIONS`."""
        query = _of(whose, owner_id).order_by(PronunciationRow.word_key)
        part = word_key(typed.strip())
        async with self._database.read() as session:
            rows = await session.scalars(query)
            found = [row.to_pronunciation() for row in rows if part in row.word_key]
        return found[:MAX_SUGGESTIONS]

    @carried_out
    async def spoken_for(self, person_id: int, guild_id: int | None) -> dict[str, str]:
        """Return what is to be said by a person in a server, by the `word_key` of each word.

        The person's own words come before the server's.
        """
        async with self._database.read() as session:
            spoken: dict[str, str] = {}
            for whose, owner_id in ((Whose.SERVER, guild_id), (Whose.PERSON, person_id)):
                if owner_id is not None:
                    rows = await session.scalars(_of(whose, owner_id))
                    spoken |= {row.word_key: row.spoken for row in rows}
            return spoken


def _of(whose: Whose, owner_id: int) -> Select[PronunciationRow]:
    return select(PronunciationRow).where(
        PronunciationRow.whose == whose, PronunciationRow.owner_id == owner_id
    )
