"""Databases to test with: fresh SQLite files, and a PostgreSQL server if one is named."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from sqlalchemy import NullPool, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


POSTGRES_SERVER = os.environ.get("TIMBRE_TEST_POSTGRES_URL")
KINDS = ["sqlite_url", "postgres_url"] if POSTGRES_SERVER else ["sqlite_url"]


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
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/data/voices.db"


@pytest.fixture
async def postgres_url() -> AsyncIterator[str]:
    """A fresh database on the server that TIMBRE_TEST_POSTGRES_URL names."""
    if not POSTGRES_SERVER:
        pytest.skip("TIMBRE_TEST_POSTGRES_URL names no server: tested on SQLite only")
    pytest.importorskip("asyncpg", reason="PostgreSQL needs asyncpg, which is not installed")
    server = make_url(POSTGRES_SERVER).set(drivername="postgresql+asyncpg")
    name = f"timbre_test_{uuid4().hex}"
    engine = create_async_engine(server, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    async with engine.connect() as connection:
        await connection.execute(text(f"CREATE DATABASE {name}"))
    yield server.set(database=name).render_as_string(hide_password=False)
    async with engine.connect() as connection:
        await connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest) -> str:
    """An empty database, of each kind that can be tested here."""
    url: str = request.getfixturevalue(request.param)
    return url
