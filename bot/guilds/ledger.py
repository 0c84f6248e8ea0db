"""What was used and is being used, counted in the database against the limits."""

from __future__ import annotations

from bot.storage.database import DatabaseUser


class Ledger(DatabaseUser):
    """Counts seconds of speech, requests and concurrent work, over restarts and processes."""
