"""How people and servers want words to be pronounced."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "pronunciations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("whose", sa.String(8), nullable=False),
        sa.Column("owner_id", sa.BigInteger(), nullable=False),
        sa.Column("word", sa.String(40), nullable=False),
        sa.Column("word_key", sa.String(40), nullable=False),
        sa.Column("spoken", sa.String(100), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_pronunciations"),
        sa.UniqueConstraint(
            "whose", "owner_id", "word_key", name="uq_pronunciations_whose_owner_id_word_key"
        ),
    )


def downgrade() -> None:
    op.drop_table("pronunciations")
