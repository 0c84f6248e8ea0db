from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from bot.storage.database import open_database
from bot.voices.library import VoiceLibrary
from tests.support.databases import database_url, postgres_url, sqlite_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["database_url", "postgres_url", "sqlite_url"]


class Clock:
    """A clock that advances by a second with each call."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def library(database_url: str, clock: Clock) -> AsyncIterator[VoiceLibrary]:
    library = VoiceLibrary(await open_database(database_url), clock=clock)
    yield library
    await library.close()
