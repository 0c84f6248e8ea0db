"""Recordings, prompts and transcripts can be encrypted, and have a checksum.

Each begins with the name of the key that it was written with: here with none, the name 00000000.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from alembic import op

if TYPE_CHECKING:
    from collections.abc import Callable

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

HEADER = "00000000:"
CHECKSUM_BYTES = 16

VOICES = sa.table(
    "voices",
    sa.column("id", sa.Integer()),
    sa.column("transcript", sa.Text()),
    sa.column("clip_flac", sa.LargeBinary()),
)
PROMPTS = sa.table(
    "voice_prompts",
    sa.column("voice_id", sa.Integer()),
    sa.column("model_id", sa.String(200)),
    sa.column("data", sa.LargeBinary()),
)


def upgrade() -> None:
    _change_each(VOICES, "clip_flac", _seal)
    _change_each(VOICES, "transcript", lambda transcript: HEADER + transcript)
    _change_each(PROMPTS, "data", _seal)
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        ids_given = sa.select(sa.func.count()).select_from(sa.table("sqlite_sequence"))
        if connection.scalar(ids_given):
            # What was deleted before may have left copies. The bot removes them, see remains.py.
            connection.exec_driver_sql("PRAGMA user_version = 1")


def downgrade() -> None:
    _change_each(PROMPTS, "data", _unseal)
    _change_each(VOICES, "transcript", _unseal_text)
    _change_each(VOICES, "clip_flac", _unseal)


def _change_each(table: sa.TableClause, name: str, change: Callable[[Any], Any]) -> None:
    """Change every value that isn't missing, one at a time: they may be large."""
    connection = op.get_bind()
    column = table.c[name]
    ids = [table.c[key] for key in ("id", "voice_id", "model_id") if key in table.c]
    for row in connection.execute(sa.select(*ids).where(column.is_not(None))).all():
        this = [each == value for each, value in zip(ids, row, strict=True)]
        value = connection.scalar(sa.select(column).where(*this))
        connection.execute(sa.update(table).where(*this).values({name: change(value)}))


def _seal(data: bytes) -> bytes:
    return HEADER.encode() + blake2b(data, digest_size=CHECKSUM_BYTES).digest() + data


def _unseal(sealed: bytes) -> bytes:
    _check_is_plain(sealed.startswith(HEADER.encode()))
    return sealed[len(HEADER) + CHECKSUM_BYTES :]


def _unseal_text(sealed: str) -> str:
    _check_is_plain(sealed.startswith(HEADER))
    return sealed.removeprefix(HEADER)


def _check_is_plain(is_plain: bool) -> None:
    if not is_plain:
        raise RuntimeError(
            "Earlier versions can't read what is encrypted. Put the word plain before the keys in "
            "STORAGE_KEYS and run .venv/bin/python -m bot rotate-keys, then try again."
        )
