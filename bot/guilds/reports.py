"""Reports and claims, what became of them, and which message holds whose speech."""

from __future__ import annotations

from bot.storage.database import DatabaseUser


class Reports(DatabaseUser):
    """Keeps reports, claims and posts."""
