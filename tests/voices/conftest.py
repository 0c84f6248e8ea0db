from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bot.storage.database import open_database
from bot.voices.library import VoiceLibrary
from tests.support.databases import Clock, clock, database_url, postgres_url, sqlite_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["clock", "database_url", "postgres_url", "sqlite_url"]


@pytest.fixture
async def library(database_url: str, clock: Clock) -> AsyncIterator[VoiceLibrary]:
    library = VoiceLibrary(await open_database(database_url), clock=clock)
    yield library
    await library.close()
