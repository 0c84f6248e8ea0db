"""Limits, settings of servers, blocks, frozen voices, reports, the audit log and posts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _limits()
    _decisions()
    _reports()
    _what_happened()


def _limits() -> None:
    op.create_table(
        "usage_days",
        sa.Column("scope", sa.String(8), nullable=False),
        sa.Column("scope_id", sa.BigInteger(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("requests", sa.Integer(), nullable=False),
        sa.Column("told_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("scope", "scope_id", "day", name="pk_usage_days"),
    )
    op.create_index("ix_usage_days_day", "usage_days", ["day"])
    op.create_table(
        "requests",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_requests"),
    )
    op.create_index("ix_requests_user_id_at", "requests", ["user_id", "at"])
    op.create_table(
        "work",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("guild_id", sa.BigInteger()),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("counted", sa.Double(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("renewed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_work"),
        sqlite_autoincrement=True,
    )


def _decisions() -> None:
    op.create_table(
        "server_settings",
        sa.Column("guild_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("report_channel_id", sa.BigInteger()),
        sa.Column("audit_channel_id", sa.BigInteger()),
        sa.Column("clone_roles", sa.JSON(), nullable=False),
        sa.Column("speak_roles", sa.JSON(), nullable=False),
        sa.Column("channels", sa.JSON(), nullable=False),
        sa.Column("voice_channels", sa.JSON(), nullable=False),
        sa.Column("seconds_per_person", sa.Integer()),
        sa.Column("seconds_per_server", sa.Integer()),
        sa.Column("requests_per_minute", sa.Integer()),
        sa.Column("at_once_per_person", sa.Integer()),
        sa.Column("at_once_per_server", sa.Integer()),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("guild_id", name="pk_server_settings"),
    )
    op.create_table(
        "blocks",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("guild_id", sa.BigInteger(), nullable=False),
        sa.Column("by", sa.BigInteger()),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("report_id", sa.Integer()),
        sa.PrimaryKeyConstraint("user_id", "guild_id", name="pk_blocks"),
    )
    op.create_table(
        "voice_freezes",
        sa.Column("voice_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("guild_id", sa.BigInteger(), nullable=False),
        sa.Column("owner_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("by", sa.BigInteger()),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("report_id", sa.Integer()),
        sa.PrimaryKeyConstraint("voice_id", "guild_id", name="pk_voice_freezes"),
    )


def _reports() -> None:
    op.create_table(
        "reports",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("guild_id", sa.BigInteger()),
        sa.Column("channel_id", sa.BigInteger(), nullable=False),
        sa.Column("message_id", sa.BigInteger()),
        sa.Column("voice_id", sa.Integer()),
        sa.Column("owner_id", sa.BigInteger(), nullable=False),
        sa.Column("reporter_id", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("consent_at", sa.DateTime(timezone=True)),
        sa.Column("consent_version", sa.String(32)),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("decided_by", sa.BigInteger()),
        sa.Column("decided_in", sa.BigInteger()),
        sa.Column("decided_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_reports"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_reports_voice_id", "reports", ["voice_id"])
    op.create_index("ix_reports_reporter_id_at", "reports", ["reporter_id", "at"])
    op.create_table(
        "report_notices",
        sa.Column("report_id", sa.Integer(), nullable=False),
        sa.Column("message_id", sa.BigInteger(), nullable=False),
        sa.Column("channel_id", sa.BigInteger(), nullable=False),
        sa.Column("guild_id", sa.BigInteger(), nullable=False),
        sa.Column("names_reporter", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("report_id", "message_id", name="pk_report_notices"),
        sa.ForeignKeyConstraint(
            ["report_id"],
            ["reports.id"],
            name="fk_report_notices_report_id",
            ondelete="CASCADE",
        ),
    )


def _what_happened() -> None:
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("actor_id", sa.BigInteger()),
        sa.Column("guild_id", sa.BigInteger()),
        sa.Column("voice_id", sa.Integer()),
        sa.Column("owner_id", sa.BigInteger()),
        sa.Column("text_hash", sa.String(32)),
        sa.Column("details", sa.String(100)),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_audit_at", "audit", ["at"])
    op.create_index("ix_audit_guild_id_id", "audit", ["guild_id", "id"])
    op.create_table(
        "secrets",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_secrets"),
    )
    op.create_table(
        "posts",
        sa.Column("message_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("channel_id", sa.BigInteger(), nullable=False),
        sa.Column("guild_id", sa.BigInteger()),
        sa.Column("voice_id", sa.Integer()),
        sa.Column("owner_id", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("message_id", name="pk_posts"),
    )
    op.create_index("ix_posts_at", "posts", ["at"])
    op.create_index("ix_posts_guild_id_voice_id", "posts", ["guild_id", "voice_id"])


def downgrade() -> None:
    for table in (
        *("posts", "secrets", "audit"),
        *("report_notices", "reports"),
        *("voice_freezes", "blocks", "server_settings"),
        *("work", "requests", "usage_days"),
    ):
        op.drop_table(table)
