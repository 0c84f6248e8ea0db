"""The database: it is migrated and opened here, and provides transactions."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import asynccontextmanager, contextmanager
from functools import wraps
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import structlog
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from bot.errors import Reason
from bot.extras import install_command
from bot.storage.background import BackgroundWrites
from bot.storage.engines import LOCK_WAIT_SECONDS, Use, create_engine, is_locked
from bot.storage.errors import DatabaseFailedError, describe, failures_as
from bot.storage.keys import NO_KEY, Keys
from bot.storage.location import DatabaseUnusableError, location_of, without_secrets
from bot.storage.migrating import DatabaseTooNewError, migrate
from bot.storage.remains import Remains
from bot.storage.sealed import use_keys, used_keys

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Hashable, Iterator

    from sqlalchemy import URL

    from bot.storage.background import Write

P = ParamSpec("P")
T = TypeVar("T")

BACKGROUND_WAIT_SECONDS = 2.0
"""How long a write of `Database.later` waits for a lock before it lets others try."""

SECONDS_TO_CLOSE = 1.0
"""How long writes of `Database.later` may take at the end, within the limit of the shutdown."""

log = structlog.get_logger(__name__)


class Database:
    """An open database whose tables are up to date. Reads never wait for writes.

    Created by `open_database`. Transactions must be short, so nothing else is awaited inside one.
    A transaction raises `DatabaseFailedError`, which is a `Refusal`, if the database can't be read
    or written now.

    Attributes:
        is_partly_encrypted: Whether something was stored before there was a key, when the database
            was opened.
    """

    def __init__(self, location: URL, keys: Keys) -> None:
        self._read_engine = create_engine(location, Use.READS)
        self._write_engine = create_engine(location, Use.WRITES)
        for engine in (self._read_engine, self._write_engine):
            use_keys(engine, keys)
        self._reads = async_sessionmaker(self._read_engine)
        self._writes = async_sessionmaker(self._write_engine)
        self.is_partly_encrypted = False
        self._is_sqlite = location.get_backend_name() == "sqlite"
        self._next_write = asyncio.Lock()
        self._under_way: set[asyncio.Task[Any]] = set()
        self._is_closing = False
        self._background = BackgroundWrites(self._write_in_background)
        self._remains = Remains(self._connection_that_writes) if self._is_sqlite else None

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
        with _logged("the database can't be read"), failures_as(Reason.DATABASE_NOT_READ):
            async with self._reads.begin() as session:
                yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """Open a transaction that writes. It commits at the end, or rolls back on an error.

        On SQLite one transaction writes at a time, in the order of the calls. They wait for each
        other, and for other processes, for at most `LOCK_WAIT_SECONDS`.
        """
        with _logged("the database can't be written"):
            async with self._write(LOCK_WAIT_SECONDS) as session:
                yield session

    def later(
        self, what: str, write: Write, *, key: Hashable | None = None
    ) -> asyncio.Future[bool]:
        """Write something soon, in order; nobody needs to wait, and nothing is raised.

        It is repeated while the database is locked, full or not there. If it is lost after all,
        the log says how much of what.

        Args:
            what: What it stores, in a word or two for the log.
            write: Called with a session, once or, after failures, several times.
            key: Of several writes that wait with one `what` and key, only the last is done.

        Returns:
            A future, which need not be awaited: True once it is written, False if it never will.
        """
        return self._background.add(what, write, key)

    async def written(self) -> None:
        """Wait until everything is written or lost that was to be written later."""
        await self._background.written()

    async def lock(self, session: AsyncSession, what: str) -> None:
        """Let other transactions that lock the same wait until this one, which writes, has ended.

        On SQLite, they wait anyway.
        """
        if not self._is_sqlite:
            key = int.from_bytes(sha256(what.encode()).digest()[:8], "big", signed=True)
            await session.execute(select(func.pg_advisory_xact_lock(key)))

    @asynccontextmanager
    async def erase(self) -> AsyncIterator[AsyncSession]:
        """Open a transaction that writes and deletes data which nobody must find again.

        Afterwards, what SQLite keeps of deleted data in its files is removed in the background,
        also after a restart. `erase_remains` waits for the most of it. PostgreSQL vacuums itself.
        """
        async with self.write() as session:
            if self._remains is not None:
                await self._remains.count(session)
            yield session
        if self._remains is not None and not self._is_closing:
            self._remains.start()

    async def erase_remains(self) -> bool:
        """After `erase`, wait a little until no deleted data is in SQLite's write-ahead log.

        Returns:
            Whether that is so. If not, others still read an older state of the database, and it
            is done as soon as they have ended.
        """
        if self._remains is None:
            return True
        try:
            return await self._remains.empty_log()
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            log.warning("deleted data is not out of the log yet", reason=describe(error))
            return False

    async def remains_erased(self, *, at_once: bool = False) -> None:
        """Wait until nothing of deleted data is in SQLite's files.

        Args:
            at_once: Don't wait until nobody writes.
        """
        if self._remains is not None:
            await self._remains.removed(at_once=at_once)

    async def resume(self) -> None:
        """Remove what an earlier process left in SQLite's files of what it deleted."""
        if self._remains is not None:
            await self._remains.resume()

    async def close(self, *, within: float = SECONDS_TO_CLOSE) -> None:
        """Write what was to be written later, then close every connection.

        Calls that are still running end first; those that wait for a lock give up.

        Args:
            within: How many seconds the writes of `later` may take. What is left is lost.
        """
        try:
            await self._background.close(within)
        finally:
            self._is_closing = True
        if self._remains is not None:
            await self._remains.close()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        await self._read_engine.dispose()
        await self._write_engine.dispose()

    @asynccontextmanager
    async def _connection_that_writes(self) -> AsyncIterator[Any]:
        """Yield the driver's connection to SQLite, outside of a transaction.

        This bypasses SQLAlchemy, because some statements are not possible inside one.
        """
        async with self._next_write, self._write_engine.connect() as connection:
            yield (await connection.get_raw_connection()).driver_connection

    async def _write_in_background(self, write: Write) -> None:
        async def transact() -> None:
            async with self._write(BACKGROUND_WAIT_SECONDS) as session:
                await write(session)

        await self.carry_out(transact())

    @asynccontextmanager
    async def _write(self, patience: float) -> AsyncIterator[AsyncSession]:
        """Open a transaction that writes; wait for at most so many seconds for others."""
        with failures_as(Reason.DATABASE_NOT_WRITTEN):
            if not self._is_sqlite:
                async with self._writes.begin() as session:
                    yield session
                return
            deadline = time.monotonic() + patience
            if self._remains is not None:
                await self._remains.make_room()
            async with self._next_write, self._writes() as session:
                await self._begin(session, deadline)
                yield session
                await session.commit()

    async def _begin(self, session: AsyncSession, deadline: float) -> None:
        """Begin to write on SQLite, as soon as no other process does."""
        while True:
            if time.monotonic() > deadline:
                raise TimeoutError("others wrote for too long")
            try:
                await session.connection()
            except OperationalError as error:
                if not is_locked(error) or self._is_closing:
                    raise
                await session.rollback()
            else:
                return


@contextmanager
def _logged(failure: str) -> Iterator[None]:
    """Log why the database fails. People are told only that it does."""
    try:
        yield
    except DatabaseFailedError as error:
        log.error(failure, reason=error.why)  # noqa: TRY400 - the reason says it all
        raise


class DatabaseUser:
    """Something whose methods are transactions of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def written(self) -> None:
        """Wait until everything is written or lost that was to be written later."""
        await self._database.written()


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


async def open_database(url: str, keys: Keys | None = None) -> Database:
    """Migrate a database and open it. A SQLite file is created if it does not exist.

    Args:
        url: `sqlite:///folder/file.db`, or `postgresql://user:password@host/name`.
        keys: What encrypts recordings, prompts and transcripts; by default nothing does.

    Raises `DatabaseUnusableError`.
    """
    location = location_of(url)
    shown = without_secrets(location)
    keys = keys or Keys()
    try:
        await asyncio.to_thread(migrate, location)
        database = Database(location, keys)
        used = await _begin_with(database)
    except DatabaseTooNewError as error:
        raise DatabaseUnusableError(
            f"{shown} was made by a newer version of Timbre. "
            "Install that version again, or restore a backup from before the update.",
        ) from error
    except ModuleNotFoundError as error:
        raise DatabaseUnusableError(
            f"{shown} needs a package that is missing ({error.name}). "
            f"Install it: {install_command('postgres')}",
        ) from error
    except TypeError:
        # The error has a part of the address, which may be a part of a password.
        raise DatabaseUnusableError(
            "The database address has something after its question mark that PostgreSQL's "
            "driver doesn't know. Correct DATABASE_URL, then start again."
        ) from None
    except (DBAPIError, sqlite3.Error, OSError, ValueError, DatabaseFailedError) as error:
        reason = error.why if isinstance(error, DatabaseFailedError) else describe(error)
        raise DatabaseUnusableError(
            f"{shown} can't be opened ({reason}). "
            "Check that the address is right and that the bot may read and write there.",
        ) from error
    if missing := sorted(name for name in used if name not in keys):
        await database.close()
        raise DatabaseUnusableError(
            f"{shown} has recordings that were encrypted with another key "
            f"({', '.join(missing)}). Add that key to STORAGE_KEYS, then start again."
        )
    database.is_partly_encrypted = keys.encrypts and NO_KEY in used
    return database


async def _begin_with(database: Database) -> set[str]:
    """Return the names of the keys in use, and remove what an earlier process has left to do.

    The database is closed if that fails.
    """
    try:
        async with database.read() as session:
            used = await used_keys(session)
        await database.resume()
    except BaseException:
        await database.close()
        raise
    return used
