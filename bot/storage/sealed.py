"""Columns whose values are encrypted with the operator's keys, and told apart from damaged ones."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy import (
    Column,
    ColumnElement,
    Dialect,
    LargeBinary,
    Table,
    Text,
    TypeDecorator,
    func,
    select,
    type_coerce,
)

from bot.storage.keys import HEADER_BYTES, DamagedError, Keys, key_name
from bot.storage.tables import Base

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

_KEYS = "timbre_keys"
"""The attribute of an engine's dialect that holds the keys. Types are told nothing else."""

log = structlog.get_logger(__name__)


class SealedBytes(TypeDecorator[bytes]):
    """Bytes. Reading them raises `DamagedError` if they aren't what was written."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: bytes | None, dialect: Dialect) -> bytes | None:
        """Return the value as it is stored."""
        return None if value is None else _keys_of(dialect).seal(value)

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> bytes | None:
        """Return the value as it was written."""
        return None if value is None else _keys_of(dialect).open(value)


class SealedText(TypeDecorator[str]):
    """A text that may be missing. A damaged one reads as None, so that its row can be read."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Return the text as it is stored."""
        return None if value is None else _keys_of(dialect).seal_text(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        """Return the text as it was written."""
        try:
            return None if value is None else _keys_of(dialect).open_text(value)
        except DamagedError:
            log.warning("a stored text is damaged")
            return None


class _Header(TypeDecorator[bytes]):
    """The beginning of a stored value, of bytes or of a text."""

    impl = LargeBinary
    cache_ok = True

    def process_result_value(self, value: bytes | str | None, dialect: Dialect) -> bytes:  # noqa: ARG002 - SQLAlchemy's signature
        """Return it as bytes; nothing for what is missing."""
        return value.encode() if isinstance(value, str) else bytes(value or b"")


def use_keys(engine: AsyncEngine, keys: Keys) -> None:
    """Encrypt and decrypt with these keys on every connection of an engine."""
    setattr(engine.sync_engine.dialect, _KEYS, keys)


async def used_keys(session: AsyncSession) -> set[str]:
    """Return the names of the keys that values were written with."""
    names = set()
    for _table, column in sealed_columns():
        headers = select(header_of(column)).where(column.is_not(None)).distinct()
        for header in await session.scalars(headers):
            with suppress(DamagedError):
                names.add(key_name(header))
    return names


def sealed_columns() -> Iterator[tuple[Table, Column[Any]]]:
    """The columns of all tables that have been imported."""
    for table in Base.metadata.sorted_tables:
        for column in table.columns:
            if isinstance(column.type, SealedBytes | SealedText):
                yield table, column


def header_of(column: Column[Any]) -> ColumnElement[bytes]:
    """The beginning of a column's values, as they are in the database."""
    plain = LargeBinary() if isinstance(column.type, SealedBytes) else Text()
    return type_coerce(func.substr(type_coerce(column, plain), 1, HEADER_BYTES), _Header())


def _keys_of(dialect: Dialect) -> Keys:
    keys: Keys = getattr(dialect, _KEYS)
    return keys
