"""Connections to the database: how each is set up, for reads, for writes and for migrations."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Connection, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.engine.interfaces import DBAPIConnection

_SQLITE_CONNECTIONS = 4
"""Each connection has a thread. Only one of them can write at a time."""

_LOCK_WAIT_SECONDS = 30.0
"""How long a SQLite transaction waits for that of another process."""


def create_engine(location: URL, *, enforce_references: bool = True) -> AsyncEngine:
    """Return an engine whose connections are set up for this kind of database."""
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


def prepare_file(file: Path) -> None:
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


def _begin_on_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later fails at once if another one is writing. After
    # BEGIN IMMEDIATE it waits instead. https://sqlite.org/isolation.html
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
