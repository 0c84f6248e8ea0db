"""Who is blocked, and which voices are frozen or removed, in a server or everywhere."""

from __future__ import annotations

from bot.storage.database import DatabaseUser


class Moderation(DatabaseUser):
    """Keeps blocks and frozen voices. What it decides holds at once in every process."""
