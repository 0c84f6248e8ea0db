"""Migrations: a database gets the newest version of its tables, or an older one again."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, func, select

from bot.storage.engines import Use, create_engine, prepare_file

if TYPE_CHECKING:
    from sqlalchemy import URL

_POSTGRES_LOCK = 0x7469_6D62_7265
"""The PostgreSQL advisory lock that is held while migrating: "timbre" in ASCII."""

_ONE_MIGRATION_AT_A_TIME = threading.Lock()
"""Needed because Alembic keeps the running migration in module globals."""

NEWEST = "head"


class DatabaseTooNewError(Exception):
    """The database has a migration that this version does not know."""


def migrate(location: URL, to: str = NEWEST) -> None:
    """Migrate a database; a SQLite file is created if it is missing. This blocks, for a thread.

    Both drivers need an event loop, and the migration has one of its own.

    Args:
        location: Where the database is.
        to: A migration's revision. An older one than the database has takes the later ones back,
            with what their tables hold.

    Raises `DatabaseTooNewError`, and what the driver and the system raise.
    """
    if location.get_backend_name() == "sqlite" and location.database:
        prepare_file(Path(location.database))
    asyncio.run(_migrate(location, to))


async def _migrate(location: URL, to: str) -> None:
    engine = create_engine(location, Use.MIGRATIONS)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_apply, to)
    finally:
        await engine.dispose()


def _apply(connection: Connection, to: str) -> None:
    """Apply every missing migration, or take back every later one: all or none.

    On SQLite, the connection's transaction excludes other writers; on PostgreSQL an advisory lock
    does. So a second process that starts at the same time waits, and then has nothing to do.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_POSTGRES_LOCK)))
    config = Config()
    config.set_main_option("script_location", "bot.storage:migrations")
    config.attributes["connection"] = connection
    known = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    applied = set(MigrationContext.configure(connection).get_current_heads())
    if not applied <= set(known):
        raise DatabaseTooNewError
    from_newest = {revision: position for position, revision in enumerate(known)}
    goes_back = to != NEWEST and any(from_newest[to] > from_newest[has] for has in applied)
    with _ONE_MIGRATION_AT_A_TIME:
        (command.downgrade if goes_back else command.upgrade)(config, to)
