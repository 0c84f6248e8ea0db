"""How loud each voice is with a model, so that live speech has the right gain from its start."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("voice_prompts", sa.Column("loudness", sa.Double()))


def downgrade() -> None:
    with op.batch_alter_table("voice_prompts") as table:
        table.drop_column("loudness")
