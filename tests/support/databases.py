"""Databases to test with: fresh SQLite files, and a PostgreSQL server if one is named."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from sqlalchemy import URL, NullPool, make_url, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from bot.storage import migrations
from bot.storage.migrating import migrate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


POSTGRES_SERVER = os.environ.get("TIMBRE_TEST_POSTGRES_URL")
IS_POSTGRES_REQUIRED = "TIMBRE_REQUIRE_POSTGRES" in os.environ
KINDS = ["sqlite", "postgres"] if POSTGRES_SERVER or IS_POSTGRES_REQUIRED else ["sqlite"]
MIGRATIONS = Path(migrations.__file__).parent / "versions"


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
    """A fresh database on the server that TIMBRE_TEST_POSTGRES_URL names, with all its tables."""
    async with _fresh_database(is_migrated=True) as url:
        yield url


@pytest.fixture
async def empty_postgres_url() -> AsyncIterator[str]:
    """A fresh database on that server, without any table."""
    async with _fresh_database(is_migrated=False) as url:
        yield url


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest) -> str:
    """A fresh database, of each kind that can be tested here."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture(params=KINDS)
def empty_database_url(request: pytest.FixtureRequest) -> str:
    """A database without any table, of each kind that can be tested here."""
    of_kind = {"sqlite": "sqlite_url", "postgres": "empty_postgres_url"}
    url: str = request.getfixturevalue(of_kind[request.param])
    return url


@asynccontextmanager
async def _fresh_database(*, is_migrated: bool) -> AsyncIterator[str]:
    server = _server()
    name = f"timbre_test_{uuid4().hex}"
    engine = create_async_engine(server, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    async with engine.connect() as connection:
        template = await _template(connection, server) if is_migrated else "template1"
        await connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
    yield server.set(database=name).render_as_string(hide_password=False)
    async with engine.connect() as connection:
        await connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


def _server() -> URL:
    """Where the server is. Skips the test if there is none, or fails it if there has to be one."""
    if POSTGRES_SERVER is None:
        reason = "TIMBRE_TEST_POSTGRES_URL names no server: tested on SQLite only"
        (pytest.fail if IS_POSTGRES_REQUIRED else pytest.skip)(reason)
    if not IS_POSTGRES_REQUIRED:
        pytest.importorskip("asyncpg", reason="PostgreSQL needs asyncpg, which is not installed")
    return make_url(POSTGRES_SERVER).set(drivername="postgresql+asyncpg")


async def _template(connection: AsyncConnection, server: URL) -> str:
    """The name of a database with all tables, which is faster to copy than to migrate.

    It is made once for these migrations, and stays on the server.
    """
    sources = b"".join(file.read_bytes() for file in sorted(MIGRATIONS.glob("*.py")))
    name = f"timbre_test_template_{sha256(sources).hexdigest()[:16]}"
    await connection.execute(text("SELECT pg_advisory_lock(7411)"))
    exists = select(1).select_from(text("pg_database")).where(text("datname = :name"))
    if await connection.scalar(exists, {"name": name}) is None:
        unfinished = f"{name}_unfinished"
        await connection.execute(text(f"DROP DATABASE IF EXISTS {unfinished}"))
        await connection.execute(text(f"CREATE DATABASE {unfinished}"))
        await asyncio.to_thread(migrate, server.set(database=unfinished))
        await connection.execute(text(f"ALTER DATABASE {unfinished} RENAME TO {name}"))
    await connection.execute(text("SELECT pg_advisory_unlock(7411)"))
    return name
