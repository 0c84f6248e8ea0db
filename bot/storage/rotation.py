"""Keys are exchanged: what earlier keys have written is written again with the first one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from sqlalchemy import select

from bot.storage.keys import DamagedError
from bot.storage.sealed import header_of, sealed_columns

if TYPE_CHECKING:
    from bot.storage.database import Database
    from bot.storage.keys import Keys

log = structlog.get_logger(__name__)


async def rotate(database: Database, keys: Keys) -> int:
    """Write every value again that another key than the first has written; return how many.

    Bots may use the database meanwhile: each value is a transaction of its own. Damaged values
    stay as they are.
    """
    rewritten = 0
    for table, column in sealed_columns():
        ids = list(table.primary_key.columns)
        headers = select(*ids, header_of(column)).where(column.is_not(None))
        async with database.read() as session:
            rows = (await session.execute(headers)).all()
        for *row_id, header in rows:
            if header == f"{keys.writing}:".encode():
                continue
            row = [part == value for part, value in zip(ids, row_id, strict=True)]
            async with database.erase() as session:
                try:
                    value = await session.scalar(select(column).where(*row).with_for_update())
                except DamagedError:
                    log.warning("a damaged value stays as it is", table=table.name)
                    continue
                if value is not None:
                    await session.execute(table.update().where(*row).values({column: value}))
                    rewritten += 1
    return rewritten
