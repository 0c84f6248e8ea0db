"""The first tables: consents, voices and voice prompts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "consents",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("statement_version", sa.String(32), nullable=False),
        sa.Column("attested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("guild_id", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name="pk_consents"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_consents_user_id", "consents", ["user_id"])
    op.create_table(
        "voices",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("owner_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("name_key", sa.Text(), nullable=False),
        sa.Column("clip_seconds", sa.Double(), nullable=False),
        sa.Column("transcript", sa.Text()),
        sa.Column("language", sa.String(32)),
        sa.Column("consent_id", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True)),
        sa.Column("clip_flac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_voices"),
        sa.ForeignKeyConstraint(["consent_id"], ["consents.id"], name="fk_voices_consent_id"),
        sa.UniqueConstraint("owner_id", "name_key", name="uq_voices_owner_id_name_key"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_voices_consent_id", "voices", ["consent_id"])
    op.create_table(
        "voice_prompts",
        sa.Column("voice_id", sa.Integer(), nullable=False),
        sa.Column("model_id", sa.String(200), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("voice_id", "model_id", name="pk_voice_prompts"),
        sa.ForeignKeyConstraint(
            ["voice_id"],
            ["voices.id"],
            name="fk_voice_prompts_voice_id",
            ondelete="CASCADE",
        ),
    )


def downgrade() -> None:
    op.drop_table("voice_prompts")
    op.drop_table("voices")
    op.drop_table("consents")
