"""Rows about people in every table there is, also in those that are added later."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, BigInteger, Boolean, Date, Double, Integer, LargeBinary, Table, insert

import bot
from bot.export import EXPORTED
from bot.guilds.tables import IdSet
from bot.storage.sealed import SealedBytes
from bot.storage.tables import Base, UtcDateTime

if TYPE_CHECKING:
    from sqlalchemy import Column

    from bot.storage.database import Database
    from bot.storage.personal import PersonalTable

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
LARGE = 10**18

MEANINGFUL: dict[str, dict[str, Any]] = {
    "usage_days": {"scope": "person"},
    "pronunciations": {"whose": "person"},
    "reports": {"state": "upheld", "kind": "report"},
    "audit": {"action": "blocked"},
    "voice_freezes": {"kind": "removed"},
    "voice_shares": {"audience": "member"},
}
"""Values that decide whether a row is about a person, by the name of the table."""


def all_tables() -> dict[str, Table]:
    """Every table of every room, by its name."""
    root = Path(bot.__file__).parent
    for file in root.rglob("tables.py"):
        import_module(".".join(["bot", *file.relative_to(root).with_suffix("").parts]))
    return dict(Base.metadata.tables)


async def fill(database: Database, person: int, other: int) -> dict[str, int]:
    """Store rows about a person in every table, and return how many each title has.

    There is one for each column that names people. Everybody else in it is the other person.
    """
    numbers, latest = count(int(NOON.timestamp()) % 1_000 + 1), dict[str, dict[str, Any]]()
    stored: dict[str, int] = {}
    described = {kept.table.name: kept for kept in EXPORTED}
    async with database.write() as session:
        for table in Base.metadata.sorted_tables:
            kept = described.get(table.name)
            if kept is None:
                continue
            # The person's own row comes last, so that what refers to it is about them as well.
            own = "owner_id" if "owner_id" in kept.people else None
            columns: list[str | None] = [None]
            if kept.people:
                columns = [*sorted(kept.people, key=lambda name: (name == own, name))]
            for column in columns:
                row = _row(kept, column, person, other, next(numbers), latest)
                inserted = insert(table).values(row).returning(*table.columns)
                latest[table.name] = dict((await session.execute(inserted)).mappings().one())
            stored[kept.title] = len(columns)
    return stored


def _row(
    kept: PersonalTable,
    column: str | None,
    person: int,
    other: int,
    number: int,
    latest: dict[str, dict[str, Any]],  # by the table's name
) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for each in kept.table.columns:
        if each.name in kept.people:
            row[each.name] = person if each.name == column else other
        elif each.foreign_keys:
            [key] = each.foreign_keys
            row[each.name] = latest[key.column.table.name][key.column.name]
        elif each is not kept.table.autoincrement_column:
            row[each.name] = _value(each, number)
    return row | MEANINGFUL.get(kept.table.name, {})


def _value(column: Column[Any], number: int) -> Any:
    values: dict[tuple[type[Any], ...], Any] = {
        (BigInteger,): LARGE + number,
        (Boolean,): True,
        (Integer,): number,
        (Double,): number + 0.5,
        (UtcDateTime,): NOON + timedelta(seconds=number),
        (Date,): date(2026, 1, 1) + timedelta(days=number % 300),
        (SealedBytes, LargeBinary): f"bytes {number}".encode(),
        (IdSet, JSON): frozenset(),
    }
    for kinds, value in values.items():
        if isinstance(column.type, kinds):
            return value
    text = f"{column.name} {number}"
    return text[-(getattr(column.type, "length", None) or len(text)) :]
