"""The queries that more than one of the library's operations is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import joinedload, selectinload

from bot.voices.consent import CONSENT_VERSION
from bot.voices.tables import ConsentRow, VoiceRow

if TYPE_CHECKING:
    from bot.voices.records import SavedVoice

RECENT_FIRST = (
    VoiceRow.last_used_at.desc().nulls_last(),
    VoiceRow.created_at.desc(),
    VoiceRow.id.desc(),
)
"""The last used voice first; then the voices that never spoke, the newest first."""


def current_consent(user_id: int) -> Select[ConsentRow]:
    """Select the person's latest agreement to the current statement."""
    return (
        select(ConsentRow)
        .where(ConsentRow.user_id == user_id, ConsentRow.statement_version == CONSENT_VERSION)
        .order_by(ConsentRow.attested_at.desc(), ConsentRow.id.desc())
        .limit(1)
    )


def voices_of(owner_id: int) -> Select[VoiceRow]:
    """Select a person's voices with what `VoiceRow.to_saved_voice` needs, and no audio."""
    return (
        select(VoiceRow)
        .where(VoiceRow.owner_id == owner_id)
        .options(joinedload(VoiceRow.consent), selectinload(VoiceRow.prompts))
    )


def voice_count(owner_id: int) -> Select[int]:
    """Count a person's voices."""
    return select(func.count()).select_from(VoiceRow).where(VoiceRow.owner_id == owner_id)


def is_voice(voice: SavedVoice) -> ColumnElement[bool]:
    """Whether a row is that voice, and its owner's."""
    return (VoiceRow.id == voice.id) & (VoiceRow.owner_id == voice.owner_id)
