from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bot.storage.database import open_database
from tests.support.databases import clock, database_url, postgres_url, sqlite_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bot.storage.database import Database

__all__ = ["clock", "database_url", "postgres_url", "sqlite_url"]


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await open_database(database_url)
    yield database
    await database.close()
