"""What is allowed, where, and what happened, as one object over one database."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bot.storage.database import Database


class Policy:
    """Holds what this room decides and records; each part is an attribute."""

    def __init__(self, database: Database) -> None:
        self._database = database
