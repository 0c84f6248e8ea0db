"""The values that the library returns. They need no open database."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from backend.contract import ConsentRecord


@dataclass(frozen=True, slots=True)
class SavedVoice:
    """A saved voice, without its audio.

    Attributes:
        id: Never used for another voice, even if this one is deleted.
        owner_id: The Discord id of the only person who may use it.
        name: As its owner typed it; has to be escaped where it is shown.
        clip_seconds: Length of the reference clip.
        transcript: What is said in the clip, or None if it is not known.
        language: One of `backend.contract.LANGUAGES`, or None if the owner chose none.
        consent: What the owner confirmed for this voice.
        created_at: In UTC.
        last_used_at: In UTC, or None if it was never used.
        prompt_models: The models that it has a prompt for.
        speed: How many times as fast it speaks as it would by itself.
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
    speed: float = 1.0


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
        transcript: What is said in it, or None if it is not known.
    """

    flac: bytes = field(repr=False)
    transcript: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was erased about a person.

    Attributes:
        voices: How many saved voices.
        consents: How many records of consent.
        words: How many words of their own dictionary.
        is_complete: Whether no copy is left in the database's log. If one is, it is removed soon.
    """

    voices: int
    consents: int
    words: int
    is_complete: bool = True


class Whose(StrEnum):
    """Whose dictionary it is. The values are stored."""

    PERSON = "person"
    SERVER = "server"


@dataclass(frozen=True, slots=True)
class Pronunciation:
    """What is to be said for a word.

    Attributes:
        word: Cleaned of Discord's markup; has to be escaped where it is shown.
        spoken: What to say instead, in the same form.
    """

    word: str = field(repr=False)
    spoken: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class DictionaryPage:
    """Some words of a dictionary, in alphabetical order.

    Attributes:
        words: Those of this page.
        total: How many there are on all pages.
    """

    words: tuple[Pronunciation, ...]
    total: int
