"""The database: it is migrated and opened here, and provides transactions."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from contextlib import asynccontextmanager, closing
from functools import wraps
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, event, func, make_url, select
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)

from bot.extras import install_command

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from sqlalchemy.engine.interfaces import DBAPIConnection

P = ParamSpec("P")
T = TypeVar("T")

_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}
"""The schemes that a database URL may have, and the driver for each."""

_SQLITE_CONNECTIONS = 4
"""Each connection has a thread. Only one of them can write at a time."""

_LOCK_WAIT_SECONDS = 30.0
"""How long a SQLite transaction waits for that of another process."""

_POSTGRES_LOCK = 0x7469_6D62_7265
"""The PostgreSQL advisory lock that is held while migrating: "timbre" in ASCII."""

_ONE_MIGRATION_AT_A_TIME = threading.Lock()
"""Needed because Alembic keeps the running migration in module globals."""


class DatabaseUnusableError(Exception):
    """The database cannot be opened. The message tells the operator why, without a password."""


class _DatabaseTooNewError(Exception):
    """The database has a migration that this version does not know."""


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
    location = _location(url)
    shown = location.render_as_string(hide_password=True)
    try:
        await asyncio.to_thread(_upgrade_in_thread, location)
        return Database(_create_engine(location))
    except _DatabaseTooNewError as error:
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


def _location(url: str) -> URL:
    """Return the URL with the driver for its scheme. Raises `DatabaseUnusableError`."""
    try:
        location = make_url(url)
    except ArgumentError:
        # The URL is not quoted and the error not chained, because the URL may have a password.
        raise DatabaseUnusableError(
            "The database address isn't a URL such as sqlite:///data/timbre.db",
        ) from None
    if location.drivername not in _DRIVERS:
        raise DatabaseUnusableError(
            f"Databases of the kind {location.drivername} aren't supported. "
            "Use a URL that starts with sqlite:/// or postgresql://",
        )
    if location.get_backend_name() == "sqlite" and location.database in {None, "", ":memory:"}:
        raise DatabaseUnusableError(
            "Voices saved in memory are lost at the end. Name a file: sqlite:///data/timbre.db",
        )
    return location.set(drivername=_DRIVERS[location.drivername])


def _upgrade_in_thread(location: URL) -> None:
    """Migrate in an event loop of this thread, because both drivers need one."""
    if location.get_backend_name() == "sqlite" and location.database:
        _prepare_file(Path(location.database))
    asyncio.run(_upgrade(location))


def _prepare_file(file: Path) -> None:
    """Create the file if it is missing. Set the journal mode in which reads do not wait for writes.

    The mode is stored in the file. If another process sets it at the same moment, SQLite does not
    wait but fails with a locked file. So the call is repeated here.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + _LOCK_WAIT_SECONDS
    with closing(sqlite3.connect(file, timeout=_LOCK_WAIT_SECONDS)) as connection:
        while True:
            try:
                connection.execute("PRAGMA journal_mode=WAL")
            except sqlite3.OperationalError as error:
                if not _is_locked(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
            else:
                return


def _is_locked(error: sqlite3.OperationalError) -> bool:
    # The low byte is the primary result code. https://sqlite.org/rescode.html
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


async def _upgrade(location: URL) -> None:
    # SQLite changes a table by copying it. If references were enforced, dropping the old table
    # would delete the rows that refer to it.
    engine = _create_engine(location, enforce_references=False)
    try:
        async with engine.execution_options(writes=True).begin() as connection:
            await connection.run_sync(_migrate)
    finally:
        await engine.dispose()


def _migrate(connection: Connection) -> None:
    """Apply every missing migration, all or none.

    On SQLite, the connection's transaction excludes other writers; on PostgreSQL an advisory lock
    does. So a second process that starts at the same time waits, and then has nothing to do.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_POSTGRES_LOCK)))
    config = Config()
    config.set_main_option("script_location", "bot.storage:migrations")
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    applied = set(MigrationContext.configure(connection).get_current_heads())
    if not applied <= known:
        raise _DatabaseTooNewError
    with _ONE_MIGRATION_AT_A_TIME:
        command.upgrade(config, "head")


def _create_engine(location: URL, *, enforce_references: bool = True) -> AsyncEngine:
    if location.get_backend_name() != "sqlite":
        return create_async_engine(location, pool_pre_ping=True, hide_parameters=True)
    engine = create_async_engine(
        location,
        hide_parameters=True,  # errors are logged, and parameters contain what people typed
        connect_args={"timeout": _LOCK_WAIT_SECONDS},
        pool_size=_SQLITE_CONNECTIONS,
        max_overflow=0,
        pool_timeout=_LOCK_WAIT_SECONDS,
    )

    def prepare(connection: DBAPIConnection, _record: Any) -> None:
        # By default Python's driver begins a transaction at the first change, and never for DDL.
        # https://docs.sqlalchemy.org/en/20/dialects/sqlite.html#sqlite-transactions
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA foreign_keys={'ON' if enforce_references else 'OFF'}")
        # Deleted data is overwritten with zeros, so that a deleted voice cannot be recovered.
        cursor.execute("PRAGMA secure_delete=ON")
        cursor.close()

    event.listen(engine.sync_engine, "connect", prepare)
    event.listen(engine.sync_engine, "begin", _begin_on_sqlite)
    return engine


def _begin_on_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later fails at once if another one is writing. After
    # BEGIN IMMEDIATE it waits instead. https://sqlite.org/isolation.html
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _reason(error: Exception) -> str:
    """The message of the driver or the system, without SQL and URLs."""
    if isinstance(error, DBAPIError):
        return str(error.orig)
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error)
