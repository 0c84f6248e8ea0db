"""What the library answers with: plain values that stay valid when the database is closed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from backend.contract import ConsentRecord


@dataclass(frozen=True, slots=True)
class SavedVoice:
    """A saved voice, without its audio.

    Attributes:
        id: Names this voice for ever; no later voice gets the same one.
        owner_id: The Discord id of the only person who may use it.
        name: As its owner typed it: escape it where it is shown.
        clip_seconds: Length of the reference clip.
        transcript: What is said in the clip, or None if nobody wrote it down.
        language: One of `backend.contract.LANGUAGES`, or None if the owner chose none.
        consent: What the owner agreed to when the voice was saved.
        created_at: In UTC.
        last_used_at: In UTC, or None if it never spoke.
        prompt_models: The models that it has a prompt for.
    """

    id: int
    owner_id: int
    name: str
    clip_seconds: float
    transcript: str | None = field(repr=False)
    language: str | None
    consent: ConsentRecord
    created_at: datetime
    last_used_at: datetime | None
    prompt_models: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VoicePage:
    """Some of a person's voices, the most recently used first.

    Attributes:
        voices: Those of this page.
        total: How many there are on all pages.
    """

    voices: tuple[SavedVoice, ...]
    total: int


@dataclass(frozen=True, slots=True)
class SavedClip:
    """The reference clip of a saved voice.

    Attributes:
        flac: The audio, as a FLAC file.
        transcript: What is said in it, or None if nobody wrote it down.
    """

    flac: bytes = field(repr=False)
    transcript: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was erased about a person.

    Attributes:
        voices: How many saved voices.
        consents: How many records of an agreement.
    """

    voices: int
    consents: int
