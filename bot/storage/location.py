"""Where a database is: addresses as operators write them, checked."""

from __future__ import annotations

import asyncio
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}
"""The schemes that a database URL may have, and the driver for each."""


class DatabaseUnusableError(Exception):
    """The database cannot be opened. The message tells the operator why, without a password."""


def location_of(url: str) -> URL:
    """Return the URL with the driver for its scheme. Raises `DatabaseUnusableError`."""
    try:
        location = make_url(url)
    except (ArgumentError, ValueError):  # a port that is no number
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
    if location.get_backend_name() == "sqlite" and (location.host or location.username):
        raise DatabaseUnusableError(
            "The address of a database file begins with three slashes: sqlite:///data/timbre.db",
        )
    return location.set(drivername=_DRIVERS[location.drivername])


def without_secrets(location: URL) -> str:
    """Return what to call a database in sentences and in the log.

    Of PostgreSQL's address nothing is shown: a password may be anywhere in it, for example after a
    question mark, or in the host's place if it has an @ in it.
    """
    if location.get_backend_name() == "sqlite":
        return f"The database {location.database}"
    return "The PostgreSQL database of DATABASE_URL"


async def check_exists(url: str) -> None:
    """Raise `DatabaseUnusableError` if a database would be created by opening it."""
    location = location_of(url)
    if location.get_backend_name() != "sqlite":
        return
    file = Path(location.database or "")
    if not await asyncio.to_thread(file.exists):
        raise DatabaseUnusableError(
            f"There's no database {file}. Set DATABASE_URL to the one that the bot uses; "
            "the demo's is sqlite:///data/demo.db.",
        )
