"""The database: it is migrated and opened here, and provides transactions."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import asynccontextmanager
from functools import wraps
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from bot.extras import install_command
from bot.storage.engines import create_engine
from bot.storage.location import DatabaseUnusableError, location_of
from bot.storage.migrating import DatabaseTooNewError, migrate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

P = ParamSpec("P")
T = TypeVar("T")


class Database:
    """An open database whose tables are up to date.

    Created by `open_database`. Transactions must be short, so nothing else is awaited inside one.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._reads = async_sessionmaker(engine)
        self._writes = async_sessionmaker(engine.execution_options(writes=True))
        self._under_way: set[asyncio.Task[Any]] = set()

    async def carry_out(self, call: Coroutine[Any, Any, T]) -> T:
        """Await a call that runs to its end even if its caller is cancelled.

        If a call is cancelled inside a transaction, SQLAlchemy drops the connection while its
        thread still runs a statement. In half of our trials SQLite's write lock was then never
        released.
        """
        task = asyncio.ensure_future(call)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """Open a transaction that only reads."""
        async with self._reads.begin() as session:
            yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """Open a transaction that writes. It commits at the end, or rolls back on an error."""
        async with self._writes.begin() as session:
            yield session

    async def lock(self, session: AsyncSession, what: str) -> None:
        """Let other transactions that lock the same wait until this one, which writes, has ended.

        On SQLite, they wait anyway.
        """
        if self._engine.dialect.name == "postgresql":
            key = int.from_bytes(sha256(what.encode()).digest()[:8], "big", signed=True)
            await session.execute(select(func.pg_advisory_xact_lock(key)))

    async def erase_remains(self) -> None:
        """Remove deleted data from SQLite's write-ahead log too. PostgreSQL vacuums itself."""
        if self._engine.dialect.name != "sqlite":
            return
        async with self._engine.connect() as connection:
            # This bypasses SQLAlchemy, because a checkpoint is not possible inside a transaction.
            driver = (await connection.get_raw_connection()).driver_connection
            if driver is not None:
                await driver.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)")

    async def close(self) -> None:
        """Close every connection, after the calls that are still running have ended."""
        await asyncio.gather(*self._under_way, return_exceptions=True)
        await self._engine.dispose()


class DatabaseUser:
    """Something whose methods are transactions of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database


UserT = TypeVar("UserT", bound=DatabaseUser)


def carried_out(
    method: Callable[Concatenate[UserT, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[UserT, P], Coroutine[Any, Any, T]]:
    """Let each call run to its end even if its caller is cancelled, see `Database.carry_out`."""

    @wraps(method)
    async def call(user: UserT, /, *args: P.args, **kwargs: P.kwargs) -> T:
        calling = method(user, *args, **kwargs)
        return await user._database.carry_out(calling)  # noqa: SLF001 - its own decorator

    return call


async def open_database(url: str) -> Database:
    """Migrate a database and open it. A SQLite file is created if it does not exist.

    Args:
        url: `sqlite:///folder/file.db`, or `postgresql://user:password@host/name`.

    Raises `DatabaseUnusableError`.
    """
    location = location_of(url)
    shown = location.render_as_string(hide_password=True)
    try:
        await asyncio.to_thread(migrate, location)
        return Database(create_engine(location))
    except DatabaseTooNewError as error:
        raise DatabaseUnusableError(
            f"The database {shown} was made by a newer version of Timbre. "
            "Install that version again, or restore a backup from before the update.",
        ) from error
    except ModuleNotFoundError as error:
        raise DatabaseUnusableError(
            f"The database {shown} needs a package that is missing ({error.name}). "
            f"Install it: {install_command('postgres')}",
        ) from error
    except (DBAPIError, sqlite3.Error, OSError) as error:
        raise DatabaseUnusableError(
            f"The database {shown} can't be opened ({_reason(error)}). "
            "Check that the address is right and that the bot may read and write there.",
        ) from error


def _reason(error: Exception) -> str:
    """The message of the driver or the system, without SQL and URLs."""
    if isinstance(error, DBAPIError):
        return str(error.orig)
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error)
