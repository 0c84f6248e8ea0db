"""What tables keep about a person, as it can be shown to that person.

Each room with tables says in its `personal.py` which columns hold the ids of people. From that,
everything about a person is found, and nothing about anybody else is shown.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, ColumnElement, Table, and_, false, or_, select, true

from bot.storage.database import DatabaseUser, carried_out
from bot.storage.sealed import SealedText

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sqlalchemy import Column

YOU, SOMEBODY_ELSE = "you", "somebody else"
"""What is shown instead of the ids of people."""

Value = str | int | float | bool | None
"""What a column is shown as. Discord ids are texts, because JSON's numbers can't hold all of them
everywhere."""

RowKey = tuple[Any, ...]
"""The primary key of a row."""


@dataclass(frozen=True)
class PersonalTable:
    """A table that holds data about people.

    Attributes:
        title: What its part of an export is called.
        table: The table.
        people: The columns that hold the Discord ids of people.
        about: The condition that a row is about a person. By default, that one of `people` is
            them.
        but: A further condition on rows, for what a person may not know; it is given their id.
        told_apart: Columns of `people` that may hold another id, with what is shown of such a row
            instead; that is given the row's values, and returns None if it is a person's id.
        hidden: Columns that aren't shown, with the reason.
        files: Columns of bytes that become a file each, with the end of its name.
        label: The column that a file is named after, besides the primary key.
        outlives_deletion: Why rows may stay when a person has everything deleted; None if none do.
    """

    title: str
    table: Table
    people: frozenset[str] = frozenset()
    about: Callable[[int], ColumnElement[bool]] | None = None
    but: Callable[[int], ColumnElement[bool]] | None = None
    told_apart: Mapping[str, Callable[[Mapping[str, Any]], Value]] = field(default_factory=dict)
    hidden: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    label: str | None = None
    outlives_deletion: str | None = None

    def is_about(self, user_id: int) -> ColumnElement[bool]:
        """The condition that a row is about a person, and that the person may know it."""
        columns = self.table.columns
        theirs = (
            self.about(user_id)
            if self.about is not None
            else or_(false(), *(columns[name] == user_id for name in sorted(self.people)))
        )
        return and_(theirs, self.but(user_id) if self.but is not None else true())

    def shown_columns(self) -> list[Column[Any]]:
        """The columns that are shown as values."""
        left_out = {*self.hidden, *self.files}
        return [column for column in self.table.columns if column.name not in left_out]

    def key_columns(self) -> list[Column[Any]]:
        """The columns of the primary key."""
        return list(self.table.primary_key.columns)


@dataclass(frozen=True, slots=True)
class PersonalRow:
    """One row of a table, as it is shown.

    Attributes:
        key: Its primary key.
        label: What its files are named after, besides the key.
        values: What is shown, by the names of the columns.
        damaged: The columns with a text that can't be read any more.
        files: Those columns of `PersonalTable.files` that aren't empty.
    """

    key: RowKey
    label: str | None = field(repr=False)
    values: dict[str, Value] = field(repr=False)
    damaged: tuple[str, ...]
    files: tuple[str, ...]


class PersonalData(DatabaseUser):
    """Reads what is kept about a person.

    Each call is one short transaction, which runs to its end even if the caller is cancelled.
    """

    @carried_out
    async def is_there(self, tables: Iterable[PersonalTable], user_id: int) -> bool:
        """Return whether any of these tables has something about a person."""
        async with self._database.read() as session:
            for kept in tables:
                there = select(true()).select_from(kept.table).where(kept.is_about(user_id))
                if await session.scalar(there.limit(1)):
                    return True
        return False

    @carried_out
    async def rows(
        self, kept: PersonalTable, user_id: int, *, after: RowKey | None, limit: int
    ) -> list[PersonalRow]:
        """Return some rows about a person, in the order of their keys.

        Args:
            kept: The table.
            user_id: The person.
            after: The key of the last row that was returned before; None for the first ones.
            limit: The most rows to return.
        """
        shown, keys = kept.shown_columns(), kept.key_columns()
        sealed = [column for column in shown if isinstance(column.type, SealedText)]
        are_there = [
            kept.table.columns[name].is_not(None)
            for name in (*(column.name for column in sealed), *kept.files)
        ]
        query = select(*shown, *keys, *are_there).where(kept.is_about(user_id))
        if after is not None:
            query = query.where(_is_after(keys, after))
        async with self._database.read() as session:
            found = await session.execute(query.order_by(*keys).limit(limit))
            return [
                _shown(kept, user_id, tuple(row), [column.name for column in sealed])
                for row in found
            ]

    @carried_out
    async def content(
        self, kept: PersonalTable, user_id: int, key: RowKey, column: str
    ) -> bytes | None:
        """Return what one of `PersonalTable.files` holds; None if it was deleted meanwhile.

        Raises `DamagedError`, as reading the column does.
        """
        matches = [each == value for each, value in zip(kept.key_columns(), key, strict=True)]
        query = select(kept.table.columns[column]).where(kept.is_about(user_id), *matches)
        async with self._database.read() as session:
            content: bytes | None = await session.scalar(query)
            return content


def _is_after(keys: list[Column[Any]], after: RowKey) -> ColumnElement[bool]:
    """The condition that a row's key is larger: by its first column, then by the next ones."""
    larger: ColumnElement[bool] = false()
    for column, value in reversed(list(zip(keys, after, strict=True))):
        larger = or_(column > value, and_(column == value, larger))
    return larger


def _shown(
    kept: PersonalTable, user_id: int, row: tuple[Any, ...], sealed: list[str]
) -> PersonalRow:
    """Put a row of the query in `PersonalData.rows` into the form that is shown."""
    columns, keys = kept.shown_columns(), kept.key_columns()
    values = dict(zip((column.name for column in columns), row, strict=False))
    key = row[len(columns) : len(columns) + len(keys)]
    is_there = dict(zip((*sealed, *kept.files), row[len(columns) + len(keys) :], strict=True))
    label = values.get(kept.label) if kept.label is not None else None
    return PersonalRow(
        key=key,
        label=None if label is None else str(label),
        values={column.name: _value(kept, column, values, user_id) for column in columns},
        damaged=tuple(name for name in sealed if is_there[name] and values[name] is None),
        files=tuple(name for name in kept.files if is_there[name]),
    )


def _value(
    kept: PersonalTable, column: Column[Any], values: Mapping[str, Any], user_id: int
) -> Value:
    value = values[column.name]
    if value is None:
        return None
    if column.name in kept.told_apart:
        shown = kept.told_apart[column.name](values)
        if shown is not None:
            return shown
    if column.name in kept.people:
        return YOU if value == user_id else SOMEBODY_ELSE
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(column.type, BigInteger):
        return str(value)
    if isinstance(value, str | int | float | bool):
        return value
    raise TypeError(f"{column.table.name}.{column.name} can't be shown")
