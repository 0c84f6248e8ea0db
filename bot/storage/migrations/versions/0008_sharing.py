"""Voices can be shared, there are default voices, and it is known who had something said."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

SEARCH = "ix_voices_search"


def upgrade() -> None:
    op.create_index(SEARCH, "voices", ["owner_id", "last_used_at", "created_at", "id", "name_key"])
    op.create_table(
        "voice_shares",
        sa.Column("voice_id", sa.Integer(), nullable=False),
        sa.Column("guild_id", sa.BigInteger(), nullable=False),
        sa.Column("audience_id", sa.BigInteger(), nullable=False),
        sa.Column("audience", sa.String(8), nullable=False),
        sa.Column("owner_id", sa.BigInteger(), nullable=False),
        sa.Column("owner_name", sa.String(32), nullable=False),
        sa.Column("name_key", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("voice_id", "guild_id", "audience_id", name="pk_voice_shares"),
        sa.ForeignKeyConstraint(
            ["voice_id"], ["voices.id"], name="fk_voice_shares_voice_id", ondelete="CASCADE"
        ),
    )
    op.create_index(
        "ix_voice_shares_search",
        "voice_shares",
        ["guild_id", "audience_id", "name_key", "voice_id", "owner_id"],
    )
    op.create_index("ix_voice_shares_owner_id", "voice_shares", ["owner_id"])
    op.create_index("ix_voice_shares_audience_id", "voice_shares", ["audience_id"])
    op.create_table(
        "default_voices",
        sa.Column("user_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("voice_id", sa.Integer(), nullable=False),
        sa.Column("guild_id", sa.BigInteger()),
        sa.PrimaryKeyConstraint("user_id", name="pk_default_voices"),
        sa.ForeignKeyConstraint(
            ["voice_id"], ["voices.id"], name="fk_default_voices_voice_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_default_voices_voice_id", "default_voices", ["voice_id"])
    op.create_table(
        "shared_uses",
        sa.Column("user_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("guild_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("voice_id", sa.Integer(), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "guild_id", name="pk_shared_uses"),
        sa.ForeignKeyConstraint(
            ["voice_id"], ["voices.id"], name="fk_shared_uses_voice_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_shared_uses_voice_id", "shared_uses", ["voice_id"])
    op.add_column("server_settings", sa.Column("default_voice_id", sa.Integer()))
    op.add_column("posts", sa.Column("asker_id", sa.BigInteger()))
    op.add_column("reports", sa.Column("asker_id", sa.BigInteger()))


def downgrade() -> None:
    for table, column in (
        ("reports", "asker_id"),
        ("posts", "asker_id"),
        ("server_settings", "default_voice_id"),
    ):
        with op.batch_alter_table(table) as changed:
            changed.drop_column(column)
    for name in ("shared_uses", "default_voices", "voice_shares"):
        op.drop_table(name)
    op.drop_index(SEARCH, "voices")
