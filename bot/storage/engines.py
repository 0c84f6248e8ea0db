"""Connections to the database: how each is set up, for reads, for writes and for migrations."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from enum import Enum
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Connection, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from bot.storage.private_files import create_private, make_private

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.exc import DBAPIError

CONNECTIONS = 4
"""Of each pool. On SQLite each has a thread, and the pool for writes has one connection alone."""

LOCK_WAIT_SECONDS = 30.0
"""How long a transaction waits for those of others."""

READ_WAIT_SECONDS = 10.0
"""How long a read waits for its turn, and for PostgreSQL's answer."""

CONNECT_SECONDS = 5.0
"""How long PostgreSQL may take to accept a connection."""

LOCK_TRY_SECONDS = 0.25
"""How long SQLite itself waits for a lock; then it is tried again, unless the bot stops."""


class Use(Enum):
    """What the connections of a pool are for."""

    READS = "reads"
    WRITES = "writes"
    MIGRATIONS = "migrations"


def create_engine(location: URL, use: Use) -> AsyncEngine:
    """Return an engine whose connections are set up for this kind of database and use."""
    if location.get_backend_name() == "sqlite":
        return _sqlite(location, use)
    return _postgres(location, use)


def _postgres(location: URL, use: Use) -> AsyncEngine:
    reads = use is Use.READS
    arguments: dict[str, Any] = {
        "timeout": CONNECT_SECONDS,
        "server_settings": {
            "lock_timeout": f"{LOCK_WAIT_SECONDS * 1000:.0f}",
            "default_transaction_read_only": "on" if reads else "off",
        },
    }
    if use is not Use.MIGRATIONS:  # one may copy a large table
        # A server that has gone without a word would never answer.
        arguments["command_timeout"] = READ_WAIT_SECONDS if reads else LOCK_WAIT_SECONDS + 5
    return create_async_engine(
        location,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args=arguments,
        pool_size=CONNECTIONS,
        max_overflow=CONNECTIONS,
        pool_timeout=READ_WAIT_SECONDS if reads else LOCK_WAIT_SECONDS,
    )


def _sqlite(location: URL, use: Use) -> AsyncEngine:
    engine = create_async_engine(
        location,
        hide_parameters=True,  # errors are logged, and parameters contain what people typed
        connect_args={
            "timeout": LOCK_WAIT_SECONDS if use is Use.MIGRATIONS else LOCK_TRY_SECONDS,
        },
        pool_size=CONNECTIONS if use is Use.READS else 1,
        max_overflow=0,
        pool_timeout=READ_WAIT_SECONDS if use is Use.READS else LOCK_WAIT_SECONDS,
    )

    def prepare(connection: DBAPIConnection, _record: Any) -> None:
        # By default Python's driver begins a transaction at the first change, and never for DDL.
        # https://docs.sqlalchemy.org/en/20/dialects/sqlite.html#sqlite-transactions
        connection.isolation_level = None
        cursor = connection.cursor()
        # SQLite changes a table by copying it. If references were enforced, dropping the old table
        # would delete the rows that refer to it.
        cursor.execute(f"PRAGMA foreign_keys={'OFF' if use is Use.MIGRATIONS else 'ON'}")
        # Deleted data is overwritten with zeros, so that a deleted voice cannot be recovered.
        cursor.execute("PRAGMA secure_delete=ON")
        if use is Use.READS:
            cursor.execute("PRAGMA query_only=ON")
        cursor.close()

    def begin(connection: Connection) -> None:
        # A transaction that reads first and writes later fails at once if another one is writing.
        # After BEGIN IMMEDIATE it waits instead. https://sqlite.org/isolation.html
        connection.exec_driver_sql("BEGIN" if use is Use.READS else "BEGIN IMMEDIATE")

    event.listen(engine.sync_engine, "connect", prepare)
    event.listen(engine.sync_engine, "begin", begin)
    return engine


def prepare_file(file: Path) -> None:
    """Create the file if it is missing. Set the journal mode in which reads do not wait for writes.

    The mode is stored in the file. If another process sets it at the same moment, SQLite does not
    wait but fails with a locked file. So the call is repeated here. Only the bot's user can read
    the file afterwards.
    """
    create_private(file)
    deadline = time.monotonic() + LOCK_WAIT_SECONDS
    with closing(sqlite3.connect(file, timeout=LOCK_WAIT_SECONDS)) as connection:
        while True:
            try:
                connection.execute("PRAGMA journal_mode=WAL")
            except sqlite3.OperationalError as error:
                if not is_busy(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
            else:
                make_private(file)
                return


def is_locked(error: DBAPIError) -> bool:
    """Whether SQLite gave up waiting for another process."""
    return isinstance(error.orig, sqlite3.OperationalError) and is_busy(error.orig)


def is_busy(error: sqlite3.OperationalError) -> bool:
    """Whether SQLite gave up waiting for another process, as its driver says it."""
    # The low byte is the primary result code. https://sqlite.org/rescode.html
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
