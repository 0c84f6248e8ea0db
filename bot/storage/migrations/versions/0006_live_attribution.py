"""A server can turn off that voice channels are told who asked for what is heard there."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "server_settings",
        sa.Column("live_attribution", sa.Boolean(), server_default=sa.true(), nullable=False),
    )


def downgrade() -> None:
    with op.batch_alter_table("server_settings") as table:
        table.drop_column("live_attribution")
