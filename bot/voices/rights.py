"""Who may use a voice: its owner, and those whom its owner shares it with in a server."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from bot.errors import Reason, Refusal

if TYPE_CHECKING:
    from datetime import datetime

MAX_REFERENCE_CHARACTERS = 100
"""A reference is as long as Discord lets a choice be, at most."""

_NUMBER = re.compile(r"#(?P<number>[0-9]{1,9})\Z")
_NAME_AND_OWNER = re.compile(r"(?P<name>.+) \(by @(?P<owner>.+)\)\Z", re.DOTALL)


class Audience(StrEnum):
    """Whom a voice is shared with. The values are stored."""

    EVERYONE = "everyone"
    ROLE = "role"
    MEMBER = "member"


@dataclass(frozen=True, slots=True)
class Asker:
    """Who wants to use a voice, and where.

    Attributes:
        user_id: The person's Discord id.
        guild_id: The server, or None in a direct message.
        role_ids: The ids of the member's roles there, without the role that everyone has; None
            while they aren't known.
    """

    user_id: int
    guild_id: int | None = None
    role_ids: frozenset[int] | None = frozenset()

    @property
    def audience_ids(self) -> frozenset[int]:
        """The `Share.audience_id` of all shares that count for this person in this server."""
        if self.guild_id is None:
            return frozenset()
        return frozenset({self.guild_id, self.user_id}) | (self.role_ids or frozenset())


@dataclass(frozen=True, slots=True)
class Share:
    """That a voice may be used by others in a server.

    Attributes:
        guild_id: The server.
        audience: Who they are.
        audience_id: The id of the member or the role; of the server if it is everyone. No two of
            these are equal, because Discord's ids are never used twice.
    """

    guild_id: int
    audience: Audience
    audience_id: int

    @classmethod
    def with_everyone(cls, guild_id: int) -> Share:
        """A share with the whole server."""
        return cls(guild_id, Audience.EVERYONE, guild_id)


@dataclass(frozen=True, slots=True)
class VoiceRights:
    """Who may use a voice, by what its owner decided.

    Attributes:
        voice_id: The voice.
        owner_id: The Discord id of its owner.
        shares: Where and with whom it is shared.
    """

    voice_id: int
    owner_id: int
    shares: frozenset[Share]

    def refusal(self, asker: Asker) -> Refusal | None:
        """Return why a person may not use the voice where they are, or None if they may."""
        if asker.user_id == self.owner_id:
            return None
        here = [share for share in self.shares if share.guild_id == asker.guild_id]
        if any(share.audience_id in asker.audience_ids for share in here):
            return None
        if asker.role_ids is None and any(share.audience is Audience.ROLE for share in here):
            return Refusal(Reason.SERVER_NOT_SEEN)
        return Refusal(Reason.VOICE_NOT_SHARED)

    def is_open_to(self, guild_id: int) -> bool:
        """Whether the whole server may use the voice."""
        return Share.with_everyone(guild_id) in self.shares


@dataclass(frozen=True, slots=True)
class SharedVoice:
    """What others see of a voice that is shared with them.

    Attributes:
        id: The voice's.
        owner_id: The Discord id of its owner.
        owner_name: The owner's username, as it was when they shared it.
        name: As its owner typed it; has to be escaped where it is shown.
        language: One of `backend.contract.LANGUAGES`, or None if the owner chose none.
        statement_version: Which statement its owner confirmed for it.
    """

    id: int
    owner_id: int
    owner_name: str
    name: str
    language: str | None
    statement_version: str

    @property
    def label(self) -> str:
        """The name with the owner's, which is enough to tell it from the others in a server."""
        return f"{self.name} (by @{self.owner_name})"

    @property
    def reference(self) -> str:
        """What names this voice and no other, though names change or are equal."""
        return f"{self.label} #{self.id}"


@dataclass(frozen=True, slots=True)
class NamedShare:
    """That a voice of somebody else is shared with a person by name.

    Attributes:
        voice: What the person sees of the voice.
        guild_id: In which server it is shared with them.
        created_at: Since when.
    """

    voice: SharedVoice
    guild_id: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class SharedPage:
    """Some of the voices that are shared in a server, in alphabetical order.

    Attributes:
        voices: Those of this page.
        total: How many there are on all pages.
    """

    voices: tuple[SharedVoice, ...]
    total: int


def number_in(reference: str) -> int | None:
    """Return the id of the voice that a `SharedVoice.reference`, or "#12", names, if it does."""
    match = _NUMBER.search(reference.strip())
    return int(match["number"]) if match else None


def name_and_owner(label: str) -> tuple[str, str] | None:
    """Return the two names of a `SharedVoice.label`, or None if it is none."""
    match = _NAME_AND_OWNER.fullmatch(label.strip())
    return (match["name"], match["owner"]) if match else None
