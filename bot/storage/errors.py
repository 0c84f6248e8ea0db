"""When the database fails while the bot runs."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    NotSupportedError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as NoConnectionError

from bot.errors import Reason, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

_PERMISSION_DENIED = "42501"
_MISTAKES = ("0A", "21", "22", "23", "42")
"""PostgreSQL's classes of errors that a statement makes: unsupported, wrong data, wrong SQL.

https://www.postgresql.org/docs/current/errcodes-appendix.html
"""


class DatabaseFailedError(Refusal):
    """The database can't be read or written now: it is locked, full, read-only or not there.

    The same call may succeed later. To a person, it is a refusal that names no cause of theirs.

    Attributes:
        why: What the driver or the system said, for the log; without SQL and parameters.
    """

    def __init__(self, reason: Reason, error: BaseException) -> None:
        super().__init__(reason)
        self.why = describe(error)


@contextmanager
def failures_as(reason: Reason) -> Iterator[None]:
    """Raise `DatabaseFailedError` in place of the driver's and the system's errors.

    What a transaction did wrong itself passes through, a violated constraint for example.
    """
    try:
        yield
    except (DBAPIError, NoConnectionError, OSError) as error:
        if _is_mistake(error):
            raise
        raise DatabaseFailedError(reason, error) from error


def _is_mistake(error: Exception) -> bool:
    """Whether a statement was wrong, so that it would fail again."""
    if not isinstance(error, DBAPIError):
        return False
    driver: Any = error.orig
    state: str | None = getattr(driver, "sqlstate", None)
    if state is not None:  # PostgreSQL
        return state != _PERMISSION_DENIED and state.startswith(_MISTAKES)
    if isinstance(driver, sqlite3.OperationalError):
        return driver.sqlite_errorcode == sqlite3.SQLITE_ERROR  # the others are about the file
    # asyncpg says so when it can't send a value.
    is_wrong_value = isinstance(getattr(driver, "__cause__", None), ValueError)
    wrong = (DataError, IntegrityError, NotSupportedError, ProgrammingError)
    return is_wrong_value or isinstance(error, wrong)


def describe(error: BaseException) -> str:
    """Return the message of the driver or the system, without SQL and URLs."""
    if isinstance(error, DBAPIError):
        return str(error.orig)
    if isinstance(error, OSError):
        return error.strerror or str(error) or type(error).__name__
    return str(error) or type(error).__name__
