"""Each voice has its consent: what a person confirmed that no voice was saved with is deleted.

Before, a person confirmed once, whatever they made. Voices of one person may share such a row.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

CONSENTS = sa.table("consents", sa.column("id", sa.Integer()))
VOICES = sa.table("voices", sa.column("consent_id", sa.Integer()))


def upgrade() -> None:
    connection = op.get_bind()
    uses = sa.select(VOICES.c.consent_id).where(VOICES.c.consent_id == CONSENTS.c.id)
    deleted = connection.execute(sa.delete(CONSENTS).where(~uses.exists())).rowcount
    if deleted and connection.dialect.name == "sqlite":
        # The bot removes what that may have left in the file, see remains.py.
        connection.exec_driver_sql("PRAGMA user_version = 1")


def downgrade() -> None:
    """Earlier versions ask whoever has no consent that they can use."""
