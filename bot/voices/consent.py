"""What a person confirms for each voice: whose it is, and that it harms nobody."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from backend.contract import ConsentRecord

if TYPE_CHECKING:
    from datetime import datetime

WORDING = "2026-12"
"""The version of what is confirmed now. Change it together with the statements."""


EITHER_PERMISSION = "2026-11"
"""The version of the statement that doesn't tell which permission it is."""
_SPOKEN = ", spoken"


class Permission(StrEnum):
    """Why a person may clone a voice. The values are stored, in the versions of statements."""

    OWN = "own voice"
    GIVEN = "with permission"

    @property
    def statement_version(self) -> str:
        """What names the statement that belongs to it, of at most 32 characters."""
        return f"{WORDING} {self.value}"

    @property
    def spoken_version(self) -> str:
        """The same for a recording in which the speaker says that they allow it."""
        return f"{self.statement_version}{_SPOKEN}"


STATEMENTS = {
    EITHER_PERMISSION: (
        "This is my own voice, or I have the speaker's permission to clone it. "
        "I will not use it to deceive or harm anyone."
    ),
    Permission.OWN.statement_version: (
        "This is my own voice. I will not use it to deceive or harm anyone."
    ),
    Permission.GIVEN.statement_version: (
        "I have the speaker's permission to clone this voice. "
        "I will not use it to deceive or harm anyone."
    ),
    Permission.OWN.spoken_version: (
        "This is my own voice, and I say in the recording that I allow this. "
        "I will not use it to deceive or harm anyone."
    ),
    Permission.GIVEN.spoken_version: (
        "The speaker says in the recording that they allow this. "
        "I will not use their voice to deceive or harm anyone."
    ),
}
"""Every statement that a person may have confirmed, by its version. None is ever changed."""


def confirm(
    permission: Permission, *, by: int, at: datetime, is_spoken: bool = False
) -> ConsentRecord:
    """Return the record that a person confirmed the statement which belongs to a permission.

    The voice prompt carries it. A voice that is kept has it in the database, too. Of a voice that
    is only tried nothing is kept there, because nothing can be done with that voice later; the
    audit log says for a while which permission was chosen.

    Args:
        permission: What they chose.
        by: Their Discord id.
        at: When, with its time zone.
        is_spoken: Whether the speaker says in the recording that they allow it.
    """
    version = permission.spoken_version if is_spoken else permission.statement_version
    return ConsentRecord(attested_by=by, attested_at=at, statement_version=version)


def is_by_permission(consent: ConsentRecord) -> bool:
    """Return whether it was confirmed that the speaker, somebody else, gave permission."""
    return consent.statement_version.removesuffix(_SPOKEN).endswith(f" {Permission.GIVEN}")


def is_spoken(statement_version: str) -> bool:
    """Return whether it says that the speaker allows it in the voice's recording."""
    return statement_version.endswith(_SPOKEN)
