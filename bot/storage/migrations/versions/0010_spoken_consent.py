"""A server can ask for consent that is read aloud, and a voice can have a speed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "server_settings",
        sa.Column("spoken_consent", sa.Boolean(), server_default=sa.false(), nullable=False),
    )
    # Not a column of the voices: SQLite would read a recording to reach it.
    op.create_table(
        "voice_speeds",
        sa.Column("voice_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("speed", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("voice_id", name="pk_voice_speeds"),
        sa.ForeignKeyConstraint(
            ["voice_id"], ["voices.id"], name="fk_voice_speeds_voice_id", ondelete="CASCADE"
        ),
    )


def downgrade() -> None:
    op.drop_table("voice_speeds")
    with op.batch_alter_table("server_settings") as table:
        table.drop_column("spoken_consent")
