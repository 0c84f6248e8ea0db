"""The database connection: opening it, its transactions, and closing it."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import URL, Connection, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)

from bot.voices.migrate import DatabaseTooNewError, upgrade

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from sqlalchemy.engine.interfaces import DBAPIConnection

T = TypeVar("T")

_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}
"""The ways people write a database's kind in a URL, and the driver for each."""

_SQLITE_CONNECTIONS = 4
"""Each is a thread, and only one of them can write at a time."""

_LOCK_WAIT_SECONDS = 30.0
"""How long a SQLite transaction waits for another process to finish its own."""


class DatabaseUnusableError(Exception):
    """The database cannot be opened. The text says why, and holds no password."""


class Database:
    """An open database whose tables are up to date.

    Made by `open_database`. The transactions are short: nothing else is awaited inside one.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._reads = async_sessionmaker(engine)
        self._writes = async_sessionmaker(engine.execution_options(writes=True))
        self._under_way: set[asyncio.Task[Any]] = set()

    async def carry_out(self, call: Coroutine[Any, Any, T]) -> T:
        """Await a call that goes on to its end even if whoever awaits it is cancelled.

        Cancelled inside a transaction, SQLAlchemy drops the connection while its thread still has a
        statement in hand, and SQLite's write lock stays taken: seen in half of the trials.
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
        """Open a transaction that writes; it commits at the end, or takes all back on an error."""
        async with self._writes.begin() as session:
            yield session

    async def erase_remains(self) -> None:
        """Take what was deleted out of SQLite's write-ahead log too. PostgreSQL vacuums itself."""
        if self._engine.dialect.name != "sqlite":
            return
        async with self._engine.connect() as connection:
            # Below SQLAlchemy, since no checkpoint is possible inside a transaction.
            driver = (await connection.get_raw_connection()).driver_connection
            if driver is not None:
                await driver.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)")

    async def close(self) -> None:
        """Close every connection, once what is under way is done."""
        await asyncio.gather(*self._under_way, return_exceptions=True)
        await self._engine.dispose()


async def open_database(url: str) -> Database:
    """Bring the database's tables up to date and open it; a SQLite file is created if need be.

    Args:
        url: `sqlite:///folder/file.db`, or `postgresql://user:password@host/name`.

    Raises `DatabaseUnusableError`.
    """
    location = _location(url)
    shown = location.render_as_string(hide_password=True)
    try:
        await asyncio.to_thread(_upgrade_in_thread, location)
        return Database(_create_engine(location))
    except DatabaseTooNewError as error:
        raise DatabaseUnusableError(
            f"The database {shown} was made by a newer version of Timbre. "
            "Install that version again, or restore a backup from before the update.",
        ) from error
    except ModuleNotFoundError as error:
        raise DatabaseUnusableError(
            f"The database {shown} needs a package that is missing: pip install {error.name}",
        ) from error
    except (DBAPIError, sqlite3.Error, OSError) as error:
        raise DatabaseUnusableError(
            f"The database {shown} cannot be opened ({_reason(error)}). "
            "Check that the address is right and that the bot may read and write there.",
        ) from error


def _location(url: str) -> URL:
    """Return the URL with the driver that is used here."""
    try:
        location = make_url(url)
    except ArgumentError:
        # The text is not repeated, nor the error chained: it may hold a password.
        raise DatabaseUnusableError(
            "The database address is not a URL such as sqlite:///data/timbre.db",
        ) from None
    if location.drivername not in _DRIVERS:
        raise DatabaseUnusableError(
            f"Databases of the kind {location.drivername} are not supported. "
            "Use a URL that starts with sqlite:/// or postgresql://",
        )
    if location.get_backend_name() == "sqlite" and location.database in {None, "", ":memory:"}:
        raise DatabaseUnusableError(
            "Voices saved in memory are lost at the end. Name a file: sqlite:///data/timbre.db",
        )
    return location.set(drivername=_DRIVERS[location.drivername])


def _upgrade_in_thread(location: URL) -> None:
    """Migrate on an event loop of this thread's own, since both drivers need one."""
    if location.get_backend_name() == "sqlite" and location.database:
        _prepare_file(Path(location.database))
    asyncio.run(_upgrade(location))


def _prepare_file(file: Path) -> None:
    """Create the file if need be, and set the journal mode that lets people read while one writes.

    The file remembers the mode. Processes that set it at the same moment do not wait for each other
    as they do elsewhere: one is told that the file is locked, and has to ask again.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    patience_ends = time.monotonic() + _LOCK_WAIT_SECONDS
    with closing(sqlite3.connect(file, timeout=_LOCK_WAIT_SECONDS)) as connection:
        while True:
            try:
                connection.execute("PRAGMA journal_mode=WAL")
            except sqlite3.OperationalError as error:
                if not _is_locked(error) or time.monotonic() > patience_ends:
                    raise
                time.sleep(0.01)
            else:
                return


def _is_locked(error: sqlite3.OperationalError) -> bool:
    # The low byte is the kind of error, the rest its variety. https://sqlite.org/rescode.html
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


async def _upgrade(location: URL) -> None:
    # Copying a table to change it would delete what refers to the old one, if that were enforced.
    engine = _create_engine(location, enforce_references=False)
    try:
        async with engine.execution_options(writes=True).begin() as connection:
            await connection.run_sync(upgrade)
    finally:
        await engine.dispose()


def _create_engine(location: URL, *, enforce_references: bool = True) -> AsyncEngine:
    if location.get_backend_name() != "sqlite":
        return create_async_engine(location, pool_pre_ping=True, hide_parameters=True)
    engine = create_async_engine(
        location,
        hide_parameters=True,  # they hold what people typed, and errors are logged
        connect_args={"timeout": _LOCK_WAIT_SECONDS},
        pool_size=_SQLITE_CONNECTIONS,
        max_overflow=0,
        pool_timeout=_LOCK_WAIT_SECONDS,
    )

    def prepare(connection: DBAPIConnection, _record: Any) -> None:
        # Python's driver would begin transactions at the first change only, and never for DDL.
        # https://docs.sqlalchemy.org/en/20/dialects/sqlite.html#sqlite-transactions
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA foreign_keys={'ON' if enforce_references else 'OFF'}")
        # What is deleted is overwritten with zeros: a voice is gone when its owner deletes it.
        cursor.execute("PRAGMA secure_delete=ON")
        cursor.close()

    event.listen(engine.sync_engine, "connect", prepare)
    event.listen(engine.sync_engine, "begin", _begin_on_sqlite)
    return engine


def _begin_on_sqlite(connection: Connection) -> None:
    # A transaction that reads first and then finds another one writing would fail at once; one
    # that says from the start that it will write waits its turn. https://sqlite.org/isolation.html
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _reason(error: Exception) -> str:
    """What the driver or the system said, without SQL or addresses."""
    if isinstance(error, DBAPIError):
        return str(error.orig)
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error)
