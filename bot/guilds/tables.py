"""The tables for limits, settings, moderation and the audit log.

A voice is named by its id, without a foreign key: what is recorded here outlasts the voice, and
nobody else ever gets its id.
"""

# SQLAlchemy reads the annotations here at run time, to define columns.

from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Date,
    Dialect,
    Double,
    ForeignKey,
    Index,
    String,
    TypeDecorator,
    UniqueConstraint,
    false,
    true,
)
from sqlalchemy.orm import Mapped, mapped_column

from bot.guilds.records import (
    ApiKey,
    AuditAction,
    AuditEntry,
    Block,
    DayUsage,
    Freeze,
    FreezeKind,
    Notice,
    Post,
    Report,
    ReportKind,
    ReportState,
    Scope,
    ServerSettings,
)
from bot.storage.tables import Base


class IdSet(TypeDecorator[frozenset[int]]):
    """Discord ids in no order, stored as a JSON list."""

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: frozenset[int] | None, dialect: Dialect) -> Any:  # noqa: ARG002 - SQLAlchemy's signature
        """Return the ids as a list, the smallest first."""
        return sorted(value or ())

    def process_result_value(self, value: Any, dialect: Dialect) -> frozenset[int]:  # noqa: ARG002 - SQLAlchemy's signature
        """Return the ids as a set."""
        return frozenset(value or ())


class UsageDayRow(Base):
    """What a person, a server or everybody used on one day."""

    __tablename__ = "usage_days"

    scope: Mapped[str] = mapped_column(String(8), primary_key=True)
    scope_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True, index=True)
    seconds: Mapped[float] = mapped_column(Double)
    requests: Mapped[int]
    told_at: Mapped[datetime | None]

    def to_usage(self) -> DayUsage:
        """Return what was used as the rest of the bot uses it."""
        return DayUsage(
            scope=Scope(self.scope),
            scope_id=self.scope_id,
            day=self.day,
            seconds=self.seconds,
            requests=self.requests,
            told_at=self.told_at,
        )


class RequestRow(Base):
    """When a person began something, to count a minute's requests. It is kept for that minute."""

    __tablename__ = "requests"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(BigInteger)
    at: Mapped[datetime]

    __table_args__ = (Index(None, "user_id", "at"),)


class WorkRow(Base):
    """What is being done now, and how much speech is reserved for it.

    Whoever does it renews it. If nobody has for a while, the process was killed. `counted` is how
    much of its speech is in the day's usage by now; the rest of `seconds` is still reserved.
    """

    __tablename__ = "work"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(BigInteger)
    guild_id: Mapped[int | None] = mapped_column(BigInteger)
    kind: Mapped[str] = mapped_column(String(16))
    seconds: Mapped[float] = mapped_column(Double)
    counted: Mapped[float] = mapped_column(Double)
    started_at: Mapped[datetime]
    renewed_at: Mapped[datetime]

    # Without AUTOINCREMENT, SQLite gives a deleted row's id to the next row.
    __table_args__ = ({"sqlite_autoincrement": True},)


class ServerSettingsRow(Base):
    """What the admins of a server decided. A server without a row has the defaults."""

    __tablename__ = "server_settings"

    guild_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    report_channel_id: Mapped[int | None] = mapped_column(BigInteger)
    audit_channel_id: Mapped[int | None] = mapped_column(BigInteger)
    clone_roles: Mapped[frozenset[int]] = mapped_column(IdSet)
    speak_roles: Mapped[frozenset[int]] = mapped_column(IdSet)
    channels: Mapped[frozenset[int]] = mapped_column(IdSet)
    voice_channels: Mapped[frozenset[int]] = mapped_column(IdSet)
    spoken_consent: Mapped[bool] = mapped_column(server_default=false())
    live_attribution: Mapped[bool] = mapped_column(server_default=true())
    seconds_per_person: Mapped[int | None]
    seconds_per_server: Mapped[int | None]
    requests_per_minute: Mapped[int | None]
    at_once_per_person: Mapped[int | None]
    at_once_per_server: Mapped[int | None]
    default_voice_id: Mapped[int | None]
    changed_at: Mapped[datetime]

    def to_settings(self) -> ServerSettings:
        """Return the settings as the rest of the bot uses them."""
        return ServerSettings(
            report_channel_id=self.report_channel_id,
            audit_channel_id=self.audit_channel_id,
            clone_roles=self.clone_roles,
            speak_roles=self.speak_roles,
            channels=self.channels,
            voice_channels=self.voice_channels,
            spoken_consent=self.spoken_consent,
            live_attribution=self.live_attribution,
            seconds_per_person=self.seconds_per_person,
            seconds_per_server=self.seconds_per_server,
            requests_per_minute=self.requests_per_minute,
            at_once_per_person=self.at_once_per_person,
            at_once_per_server=self.at_once_per_server,
            default_voice_id=self.default_voice_id,
        )


class BlockRow(Base):
    """A person who may not use the bot in a server, or anywhere."""

    __tablename__ = "blocks"

    user_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    guild_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    by: Mapped[int | None] = mapped_column(BigInteger)
    at: Mapped[datetime]
    report_id: Mapped[int | None]

    def to_block(self) -> Block:
        """Return the block as the rest of the bot uses it."""
        return Block(
            user_id=self.user_id,
            guild_id=self.guild_id,
            by=self.by,
            at=self.at,
            report_id=self.report_id,
        )


class FreezeRow(Base):
    """A voice that may not be used in a server, or anywhere."""

    __tablename__ = "voice_freezes"

    voice_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    guild_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    owner_id: Mapped[int] = mapped_column(BigInteger)
    kind: Mapped[str] = mapped_column(String(8))
    by: Mapped[int | None] = mapped_column(BigInteger)
    at: Mapped[datetime]
    report_id: Mapped[int | None]

    def to_freeze(self) -> Freeze:
        """Return the freeze as the rest of the bot uses it."""
        return Freeze(
            voice_id=self.voice_id,
            guild_id=self.guild_id,
            owner_id=self.owner_id,
            kind=FreezeKind(self.kind),
            by=self.by,
            at=self.at,
            report_id=self.report_id,
        )


class ReportRow(Base):
    """What somebody reported."""

    __tablename__ = "reports"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(8))
    guild_id: Mapped[int | None] = mapped_column(BigInteger)
    channel_id: Mapped[int] = mapped_column(BigInteger)
    message_id: Mapped[int | None] = mapped_column(BigInteger)
    voice_id: Mapped[int | None] = mapped_column(index=True)
    owner_id: Mapped[int] = mapped_column(BigInteger)
    reporter_id: Mapped[int] = mapped_column(BigInteger)
    at: Mapped[datetime]
    consent_at: Mapped[datetime | None]
    consent_version: Mapped[str | None] = mapped_column(String(32))
    state: Mapped[str] = mapped_column(String(16))
    decided_by: Mapped[int | None] = mapped_column(BigInteger)
    decided_in: Mapped[int | None] = mapped_column(BigInteger)
    decided_at: Mapped[datetime | None]
    asker_id: Mapped[int | None] = mapped_column(BigInteger)

    __table_args__ = (Index(None, "reporter_id", "at"), {"sqlite_autoincrement": True})

    def to_report(self) -> Report:
        """Return the report as the rest of the bot uses it."""
        return Report(
            id=self.id,
            kind=ReportKind(self.kind),
            guild_id=self.guild_id,
            channel_id=self.channel_id,
            message_id=self.message_id,
            voice_id=self.voice_id,
            owner_id=self.owner_id,
            reporter_id=self.reporter_id,
            at=self.at,
            consent_at=self.consent_at,
            consent_version=self.consent_version,
            state=ReportState(self.state),
            decided_by=self.decided_by,
            decided_in=self.decided_in,
            decided_at=self.decided_at,
            asker_id=self.asker_id,
        )


class ReportNoticeRow(Base):
    """A message of ours that shows a report, so that a decision changes all of them."""

    __tablename__ = "report_notices"

    report_id: Mapped[int] = mapped_column(
        ForeignKey("reports.id", ondelete="CASCADE"), primary_key=True
    )
    message_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    channel_id: Mapped[int] = mapped_column(BigInteger)
    guild_id: Mapped[int] = mapped_column(BigInteger)
    names_reporter: Mapped[bool]

    def to_notice(self) -> Notice:
        """Return the notice as the rest of the bot uses it."""
        return Notice(
            report_id=self.report_id,
            message_id=self.message_id,
            channel_id=self.channel_id,
            guild_id=self.guild_id,
            names_reporter=self.names_reporter,
        )


class AuditRow(Base):
    """One line of the audit log."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(index=True)
    action: Mapped[str] = mapped_column(String(16))
    actor_id: Mapped[int | None] = mapped_column(BigInteger)
    guild_id: Mapped[int | None] = mapped_column(BigInteger)
    voice_id: Mapped[int | None]
    owner_id: Mapped[int | None] = mapped_column(BigInteger)
    text_hash: Mapped[str | None] = mapped_column(String(32))
    details: Mapped[str | None] = mapped_column(String(100))

    __table_args__ = (Index(None, "guild_id", "id"), {"sqlite_autoincrement": True})

    def to_entry(self) -> AuditEntry:
        """Return the entry as the rest of the bot uses it."""
        return AuditEntry(
            id=self.id,
            at=self.at,
            action=AuditAction(self.action),
            actor_id=self.actor_id,
            guild_id=self.guild_id,
            voice_id=self.voice_id,
            owner_id=self.owner_id,
            text_hash=self.text_hash,
            details=self.details,
        )


class ApiKeyRow(Base):
    """A key with which a person uses the HTTP API. The key itself is not stored."""

    __tablename__ = "api_keys"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(BigInteger, index=True)
    key_hash: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]

    # Without AUTOINCREMENT, SQLite gives a deleted row's id to the next row.
    __table_args__ = (UniqueConstraint("key_hash"), {"sqlite_autoincrement": True})

    def to_key(self) -> ApiKey:
        """Return what the rest of the bot may know of it."""
        return ApiKey(
            id=self.id,
            user_id=self.user_id,
            name=self.name,
            created_at=self.created_at,
            last_used_at=self.last_used_at,
        )


class SecretRow(Base):
    """Random bytes that this database's hashes are made with."""

    __tablename__ = "secrets"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    value: Mapped[bytes]


class PostRow(Base):
    """A message that holds somebody's speech."""

    __tablename__ = "posts"

    message_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    channel_id: Mapped[int] = mapped_column(BigInteger)
    guild_id: Mapped[int | None] = mapped_column(BigInteger)
    voice_id: Mapped[int | None]
    owner_id: Mapped[int] = mapped_column(BigInteger)
    at: Mapped[datetime] = mapped_column(index=True)
    asker_id: Mapped[int | None] = mapped_column(BigInteger)

    __table_args__ = (Index(None, "guild_id", "voice_id"),)

    def to_post(self) -> Post:
        """Return the post as the rest of the bot uses it."""
        return Post(
            message_id=self.message_id,
            channel_id=self.channel_id,
            guild_id=self.guild_id,
            voice_id=self.voice_id,
            owner_id=self.owner_id,
            at=self.at,
            asker_id=self.asker_id,
        )
