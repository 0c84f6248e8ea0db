"""What happens to databases while the bot runs: each failure lasts as long as its context."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, NullPool, event, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def locked(url: str, table: str = "voices") -> AsyncIterator[None]:
    """Somebody else writes for long: to the file, or to a table of PostgreSQL.

    SQLite lets two connections of one process wait for each other like two processes.
    """
    location = make_url(url)
    if location.get_backend_name() == "sqlite":
        other = sqlite3.connect(
            str(location.database), isolation_level=None, check_same_thread=False
        )
        with closing(other):
            # The bot may be writing, and needs the event loop to end that.
            await asyncio.to_thread(other.execute, "BEGIN IMMEDIATE")
            yield
        return
    async with create_async_engine(
        location.set(drivername="postgresql+asyncpg"), poolclass=NullPool
    ).connect() as other_session:
        await other_session.execute(text(f"LOCK TABLE {table} IN EXCLUSIVE MODE"))
        yield
        await other_session.rollback()


@asynccontextmanager
async def full(url: str) -> AsyncIterator[None]:
    """No file of this process can grow beyond the size that SQLite's log has now.

    Nothing else that the process writes meanwhile may be large.
    """
    size = (await asyncio.to_thread(Path(f"{make_url(url).database}-wal").stat)).st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@asynccontextmanager
async def read_only(_url: str) -> AsyncIterator[None]:
    """Every write of this process fails as if the file could only be read."""

    def refuse(connection: Connection) -> None:
        connection.exec_driver_sql("PRAGMA query_only=ON")

    def allow(connection: Connection) -> None:
        connection.exec_driver_sql("PRAGMA query_only=OFF")

    listeners = (("begin", refuse), ("commit", allow), ("rollback", allow))
    for name, listener in listeners:
        event.listen(Engine, name, listener)
    try:
        yield
    finally:
        for name, listener in listeners:
            event.remove(Engine, name, listener)


@asynccontextmanager
async def gone(url: str) -> AsyncIterator[None]:
    """PostgreSQL closes every connection to the database, and accepts no others."""
    location = make_url(url).set(drivername="postgresql+asyncpg")
    name = location.database
    engine = create_async_engine(
        location.set(database="postgres"), isolation_level="AUTOCOMMIT", poolclass=NullPool
    )
    async with engine.connect() as server:
        await server.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
        await server.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"),
            {"name": name},
        )
        try:
            yield
        finally:
            await server.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"))
