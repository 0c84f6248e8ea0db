"""What is kept about a person who wants to be forgotten, and what isn't."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select

from bot.guilds.counting import usage_keys
from bot.guilds.policy import Policy
from bot.guilds.records import (
    EVERYWHERE,
    AuditAction,
    FreezeKind,
    ReportKind,
    Scope,
    Subject,
)
from bot.guilds.tables import UsageDayRow
from bot.guilds.usage import Usage

if TYPE_CHECKING:
    from bot.storage.database import Database

ANA, BEN = 1_198_765_432_109_876_543, 2**63 - 1
HERE = 998_765_432_109_876_543
NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
TODAY = NOON.date()


async def uses(database: Database, policy: Policy, person: int) -> None:
    """A person has used the bot for three days, and was reported, blocked and kept away."""
    async with database.write() as session:
        for day in (TODAY, TODAY - timedelta(days=1), TODAY - timedelta(days=2)):
            for scope, scope_id in [key[:2] for key in usage_keys(person, None, day)]:
                row = UsageDayRow(scope=scope, scope_id=scope_id, day=day, seconds=5, requests=1)
                await session.merge(row)
    policy.posts.note(person - 5, HERE, HERE, voice_id=1, owner_id=person)
    policy.audit.note(AuditAction.SPOKE_FILE, actor_id=person, guild_id=HERE, owner_id=person)
    await policy.moderation.freeze(person % 1_000, person, HERE, FreezeKind.REMOVED, by=None)
    await policy.moderation.block(person, EVERYWHERE, by=None)
    subject = Subject(HERE, HERE, message_id=person - 5, voice_id=1, owner_id=person)
    await policy.reports.file(ReportKind.REPORT, subject, 7)


async def days_of(database: Database, scope: Scope, scope_id: int) -> int:
    theirs = (UsageDayRow.scope == scope) & (UsageDayRow.scope_id == scope_id)
    async with database.read() as session:
        return len((await session.scalars(select(UsageDayRow).where(theirs))).all())


async def test_a_person_is_forgotten_but_for_limits_blocks_and_reports(database: Database) -> None:
    policy = Policy(database)
    policy.usage = Usage(database, clock=lambda: NOON)
    for person in (ANA, BEN):
        await uses(database, policy, person)
    assert await policy.keeps_anything_about(ANA)
    assert (await policy.forget(ANA)).had_any
    await policy.audit.written()
    assert not await policy.keeps_anything_about(ANA)
    assert not (await policy.forget(ANA)).had_any

    assert await policy.posts.find(ANA - 5) is None
    assert await policy.moderation.freeze_of(ANA % 1_000, HERE) is None
    assert (await policy.audit.page(HERE, user_id=ANA)).total == 0
    assert await days_of(database, Scope.PERSON, ANA) == 1, "today's use counts against limits"
    assert await policy.moderation.is_blocked(ANA, None) == EVERYWHERE
    assert [report.owner_id for report in await policy.reports.open()] == [ANA, BEN]

    assert await days_of(database, Scope.ALL, 0) == 3
    assert await days_of(database, Scope.PERSON, BEN) == 3
    assert await policy.posts.find(BEN - 5) is not None
    assert await policy.moderation.freeze_of(BEN % 1_000, HERE) is not None
