"""Bring a database's tables to the shape that this version of the bot expects."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import func, select

if TYPE_CHECKING:
    from sqlalchemy import Connection

_POSTGRES_LOCK = 0x7469_6D62_7265
"""Names, among PostgreSQL's advisory locks, the one held while migrating: "timbre" in ASCII."""

_ONE_AT_A_TIME = threading.Lock()
"""Alembic keeps the migration that is running in module globals."""


class DatabaseTooNewError(Exception):
    """A migration was applied to the database that this version does not know."""


def upgrade(connection: Connection) -> None:
    """Apply every migration that is missing, all or none.

    Blocks. The connection is in a transaction that excludes other writers on SQLite; on PostgreSQL
    a lock does that here. So a second process that starts meanwhile waits, then finds all done.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_POSTGRES_LOCK)))
    config = Config()
    config.set_main_option("script_location", "bot.voices:migrations")
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    applied = set(MigrationContext.configure(connection).get_current_heads())
    if not applied <= known:
        raise DatabaseTooNewError
    with _ONE_AT_A_TIME:
        command.upgrade(config, "head")
