"""What this room's tables keep about people, see `bot.storage.personal`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from bot.storage.personal import PersonalTable
from bot.voices.queries import is_word_of
from bot.voices.rights import Audience
from bot.voices.tables import (
    ConsentRow,
    DefaultVoiceRow,
    PromptRow,
    PronunciationRow,
    SharedUseRow,
    ShareRow,
    VoiceRow,
    VoiceSpeedRow,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from sqlalchemy import ColumnElement

    from bot.storage.personal import Value

WHOLE_SERVER = "the whole server"
"""Shown instead of the id of the server with which a voice is shared."""


def _is_of_voice_of(user_id: int) -> ColumnElement[bool]:
    return PromptRow.voice_id.in_(select(VoiceRow.id).where(VoiceRow.owner_id == user_id))


def _has_speed_of(user_id: int) -> ColumnElement[bool]:
    return VoiceSpeedRow.voice_id.in_(select(VoiceRow.id).where(VoiceRow.owner_id == user_id))


def _audience_of(share: Mapping[str, Any]) -> Value:
    """Whom a voice is shared with, unless it is a member."""
    if share["audience"] == Audience.EVERYONE:
        return WHOLE_SERVER
    return str(share["audience_id"]) if share["audience"] == Audience.ROLE else None


PERSONAL = (
    PersonalTable(
        "voices",
        VoiceRow.metadata.tables["voices"],
        people=frozenset({"owner_id"}),
        hidden={"name_key": "the name again, as it is looked up"},
        files={"clip_flac": "flac"},
        label="name",
    ),
    PersonalTable(
        "voice_prompts",
        PromptRow.metadata.tables["voice_prompts"],
        about=_is_of_voice_of,
        files={"data": "bin"},
    ),
    PersonalTable(
        "voice_speeds",
        VoiceSpeedRow.metadata.tables["voice_speeds"],
        about=_has_speed_of,
    ),
    PersonalTable(
        "consents", ConsentRow.metadata.tables["consents"], people=frozenset({"user_id"})
    ),
    PersonalTable(
        "dictionary",
        PronunciationRow.metadata.tables["pronunciations"],
        people=frozenset({"owner_id"}),
        about=is_word_of,
        hidden={
            "whose": "only the person's own are exported; a server's don't tell who added them",
            "word_key": "the word again, as it is looked up",
        },
    ),
    PersonalTable(
        "shared_voices",
        ShareRow.metadata.tables["voice_shares"],
        people=frozenset({"owner_id", "audience_id"}),
        told_apart={"audience_id": _audience_of},
        hidden={"name_key": "the voice's name again, as it is looked up"},
    ),
    PersonalTable(
        "default_voice",
        DefaultVoiceRow.metadata.tables["default_voices"],
        people=frozenset({"user_id"}),
    ),
    PersonalTable(
        "shared_voices_used_last",
        SharedUseRow.metadata.tables["shared_uses"],
        people=frozenset({"user_id"}),
    ),
)
"""The tables with something about people."""

NOT_PERSONAL: dict[str, str] = {}
"""The other tables, with the reason why nothing in them is about a person."""
