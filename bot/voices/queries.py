"""The rows of voices, consents and words that the library asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, Delete, Select, delete, func, select
from sqlalchemy.orm import joinedload, selectinload

from bot.errors import Reason, Refusal
from bot.voices.names import lookup_key
from bot.voices.records import Whose
from bot.voices.tables import ConsentRow, PronunciationRow, ShareRow, VoiceRow

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from bot.storage.database import Database
    from bot.voices.records import SavedVoice

RECENT_FIRST = (
    VoiceRow.last_used_at.desc().nulls_last(),
    VoiceRow.created_at.desc(),
    VoiceRow.id.desc(),
)
"""The most recently used voices first; then the voices that were never used, the newest first."""


async def locked_row(session: AsyncSession, voice: SavedVoice) -> VoiceRow:
    """Return the voice's row, locked. Raises `Refusal` if it was deleted."""
    row = await session.scalar(select(VoiceRow).where(is_voice(voice)).with_for_update())
    if row is None:
        raise Refusal(Reason.NO_SUCH_VOICE)
    return row


async def locked_recording(session: AsyncSession, voice: SavedVoice) -> VoiceRow:
    """As `locked_row`. Raises `Refusal` also if the voice got another recording meanwhile."""
    row = await locked_row(session, voice)
    if await session.scalar(select(VoiceRow.id).where(has_recording(voice))) is None:
        raise Refusal(Reason.RECORDING_REPLACED)
    return row


async def lock_voices(database: Database, session: AsyncSession, owner_id: int) -> None:
    """Let what adds or deletes voices of that person wait until this transaction has ended.

    On PostgreSQL, two saves at once would otherwise exceed the limit, two deletions would both
    leave the consent that the voices share, and one that is being saved would escape `forget`.
    """
    await database.lock(session, f"voices of {owner_id}")


async def row_named(
    session: AsyncSession, owner_id: int, name: str, *, lock: bool = False
) -> VoiceRow:
    """Return the owner's voice of that name. Raises `Refusal` if there is none."""
    key = lookup_key(name)
    if key is None:
        raise Refusal(Reason.NO_SUCH_VOICE)
    query = voices_of(owner_id).where(VoiceRow.name_key == key)
    voice = await session.scalar(query.with_for_update(of=VoiceRow) if lock else query)
    if voice is None:
        raise Refusal(Reason.NO_SUCH_VOICE)
    return voice


def is_word_of(user_id: int) -> ColumnElement[bool]:
    """A condition for the words of a person's own dictionary."""
    return (PronunciationRow.whose == Whose.PERSON) & (PronunciationRow.owner_id == user_id)


def unused_consent(consent_id: int) -> Delete:
    """Delete a consent record if no voice uses it. Before 2026-12, voices shared one."""
    uses = select(VoiceRow.id).where(VoiceRow.consent_id == consent_id)
    return delete(ConsentRow).where(ConsentRow.id == consent_id, ~uses.exists())


def is_share_with(user_id: int) -> ColumnElement[bool]:
    """A condition for the shares that name a person."""
    return ShareRow.audience_id == user_id


def voices_of(owner_id: int) -> Select[VoiceRow]:
    """Select a person's voices with what `VoiceRow.to_saved_voice` needs, and no audio."""
    return voices_where(VoiceRow.owner_id == owner_id)


def voices_where(condition: ColumnElement[bool]) -> Select[VoiceRow]:
    """Select voices with what `VoiceRow.to_saved_voice` needs, and no audio."""
    return (
        select(VoiceRow)
        .where(condition)
        .options(
            joinedload(VoiceRow.consent),
            joinedload(VoiceRow.chosen_speed),
            selectinload(VoiceRow.prompts),
        )
    )


def voice_count(owner_id: int) -> Select[int]:
    """Count a person's voices."""
    return select(func.count()).select_from(VoiceRow).where(VoiceRow.owner_id == owner_id)


def is_voice(voice: SavedVoice) -> ColumnElement[bool]:
    """The condition that a row is that voice, and belongs to its owner."""
    return (VoiceRow.id == voice.id) & (VoiceRow.owner_id == voice.owner_id)


def has_recording(voice: SavedVoice) -> ColumnElement[bool]:
    """The condition that a row is that voice, and still has the same recording.

    A recording is replaced together with what was confirmed for it, which tells the two apart.
    """
    confirmed = select(ConsentRow.id).where(
        ConsentRow.id == VoiceRow.consent_id,
        ConsentRow.attested_at == voice.consent.attested_at,
        ConsentRow.statement_version == voice.consent.statement_version,
    )
    return is_voice(voice) & confirmed.exists()
