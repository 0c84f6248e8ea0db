from __future__ import annotations

import pytest

from bot.storage import database
from bot.storage.migrating import migrate
from tests.support.databases import (
    clock,
    database_url,
    empty_database_url,
    empty_postgres_url,
    postgres_url,
    sqlite_url,
)

__all__ = [
    "clock",
    "database_url",
    "empty_database_url",
    "empty_postgres_url",
    "postgres_url",
    "sqlite_url",
]


@pytest.fixture(autouse=True)
def _databases_are_migrated(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests are about new databases, too, so none is a copy."""
    monkeypatch.setattr(database, "migrate", migrate)
