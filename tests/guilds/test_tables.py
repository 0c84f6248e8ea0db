"""What is stored comes back as it was, on both databases."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from bot.guilds.records import (
    EVERYWHERE,
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
from bot.guilds.tables import (
    AuditRow,
    BlockRow,
    FreezeRow,
    PostRow,
    ReportNoticeRow,
    ReportRow,
    ServerSettingsRow,
    UsageDayRow,
)

if TYPE_CHECKING:
    from enum import StrEnum

    from bot.storage.database import Database

ANA, BEN = 1_198_765_432_109_876_543, 2**63 - 1
GUILD = 998_765_432_109_876_543
AT = datetime(2026, 11, 27, 23, 59, 59, 999_999, tzinfo=UTC)


async def stored(database: Database, row: Any) -> Any:
    """The row, as somebody else reads it."""
    async with database.write() as session:
        session.add(row)
    async with database.read() as session:
        found = await session.scalar(select(type(row)))
        session.expunge(found)
        return found


async def test_a_days_usage(database: Database) -> None:
    usage = DayUsage(Scope.PERSON, ANA, date(2026, 11, 27), 0.1 + 0.2, 7, AT)
    row = UsageDayRow(
        scope=Scope.PERSON,
        scope_id=ANA,
        day=usage.day,
        seconds=usage.seconds,
        requests=7,
        told_at=AT.astimezone(timezone(timedelta(hours=9))),
    )

    assert (await stored(database, row)).to_usage() == usage


@pytest.mark.parametrize("roles", [frozenset(), frozenset({ANA}), frozenset({BEN, GUILD, ANA})])
async def test_a_servers_settings(database: Database, roles: frozenset[int]) -> None:
    settings = ServerSettings(
        report_channel_id=BEN,
        clone_roles=roles,
        channels=roles,
        voice_channels=frozenset({BEN}),
        seconds_per_person=0,
    )
    row = ServerSettingsRow(
        guild_id=GUILD,
        report_channel_id=BEN,
        clone_roles=roles,
        speak_roles=frozenset(),
        channels=roles,
        voice_channels=frozenset({BEN}),
        seconds_per_person=0,
        changed_at=AT,
    )

    assert (await stored(database, row)).to_settings() == settings


async def test_blocks_in_a_server_and_everywhere(database: Database) -> None:
    there = BlockRow(user_id=BEN, guild_id=GUILD, by=ANA, at=AT, report_id=3)
    assert (await stored(database, there)).to_block() == Block(BEN, GUILD, ANA, AT, 3)

    everywhere = BlockRow(user_id=BEN, guild_id=EVERYWHERE, at=AT)
    async with database.write() as session:
        session.add(everywhere)
    with pytest.raises(IntegrityError):
        await stored(database, BlockRow(user_id=BEN, guild_id=GUILD, by=None, at=AT))


async def test_a_frozen_voice(database: Database) -> None:
    row = FreezeRow(
        voice_id=5, guild_id=GUILD, owner_id=BEN, kind=FreezeKind.REMOVED, by=ANA, at=AT
    )

    assert (await stored(database, row)).to_freeze() == Freeze(
        5, GUILD, BEN, FreezeKind.REMOVED, ANA, AT, None
    )


async def test_a_report_and_the_messages_that_show_it(database: Database) -> None:
    report = Report(
        id=1,
        kind=ReportKind.CLAIM,
        guild_id=None,
        channel_id=GUILD + 1,
        message_id=GUILD + 2,
        voice_id=5,
        owner_id=BEN,
        reporter_id=ANA,
        at=AT,
        consent_at=AT - timedelta(days=1),
        consent_version="2026-11",
        state=ReportState.OPEN,
        decided_by=None,
        decided_in=None,
        decided_at=None,
    )
    row = ReportRow(
        kind=report.kind,
        channel_id=report.channel_id,
        message_id=report.message_id,
        voice_id=5,
        owner_id=BEN,
        reporter_id=ANA,
        at=AT,
        consent_at=report.consent_at,
        consent_version=report.consent_version,
        state=report.state,
    )
    assert (await stored(database, row)).to_report() == report

    notice = ReportNoticeRow(
        report_id=1, message_id=BEN, channel_id=GUILD + 1, guild_id=GUILD, names_reporter=True
    )
    assert (await stored(database, notice)).to_notice() == Notice(
        1, BEN, GUILD + 1, GUILD, names_reporter=True
    )
    async with database.write() as session:
        await session.delete(await session.get_one(ReportRow, 1))
    async with database.read() as session:
        assert (await session.scalars(select(ReportNoticeRow))).all() == []


async def test_a_line_of_the_audit_log(database: Database) -> None:
    row = AuditRow(
        at=AT, action=AuditAction.SPOKE_FILE, actor_id=ANA, guild_id=GUILD, text_hash="0f" * 16
    )

    assert (await stored(database, row)).to_entry() == AuditEntry(
        1, AT, AuditAction.SPOKE_FILE, ANA, GUILD, None, None, "0f" * 16, None
    )


async def test_a_post(database: Database) -> None:
    row = PostRow(message_id=BEN, channel_id=GUILD + 1, guild_id=GUILD, owner_id=ANA, at=AT)

    assert (await stored(database, row)).to_post() == Post(BEN, GUILD + 1, GUILD, None, ANA, AT)


@pytest.mark.parametrize("kind", [*AuditAction, *FreezeKind, *ReportKind, *ReportState, *Scope])
def test_every_code_fits_into_its_column(kind: StrEnum) -> None:
    """PostgreSQL refuses what is too long, SQLite does not."""
    columns: dict[type[StrEnum], Any] = {
        AuditAction: AuditRow.action,
        FreezeKind: FreezeRow.kind,
        ReportKind: ReportRow.kind,
        ReportState: ReportRow.state,
        Scope: UsageDayRow.scope,
    }

    assert len(kind) <= columns[type(kind)].type.length
