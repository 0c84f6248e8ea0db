"""Reports and claims: what is kept, what one person may send, and who has the last word."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from bot.errors import Reason, Refusal
from bot.guilds.dismissal import dismiss
from bot.guilds.policy import Policy
from bot.guilds.records import (
    EVERYWHERE,
    FreezeKind,
    Notice,
    Report,
    ReportKind,
    ReportState,
    Subject,
)
from bot.guilds.reports import CLAIMS_PER_DAY, DAYS_OPEN, REPORTS_PER_DAY, Reports
from bot.storage.database import open_database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bot.storage.database import Database
    from tests.support.databases import Clock

OWNER, ANA, BEN, OPERATOR = 2**63 - 1, 1_198_765_432_109_876_543, 5, 77
HERE = 998_765_432_109_876_543
SUBJECT = Subject(HERE, HERE + 1, message_id=HERE + 2, voice_id=12, owner_id=OWNER)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await open_database(database_url)
    yield database
    await database.close()


@pytest.fixture
def reports(database: Database, clock: Clock) -> Reports:
    return Reports(database, clock=clock)


@pytest.fixture
def policy(database: Database, reports: Reports) -> Policy:
    policy = Policy(database)
    policy.reports = reports
    return policy


async def reported(
    reports: Reports, message_id: int, *, by: int = ANA, kind: ReportKind = ReportKind.REPORT
) -> Report:
    """A report that has reached a moderator. Each message is of another voice."""
    subject = replace(SUBJECT, message_id=message_id, voice_id=message_id)
    report = await reports.file(kind, subject, by)
    notice = Notice(report.id, message_id + 1_000, HERE, HERE, names_reporter=True)
    await reports.note_notice(notice)
    return report


async def test_a_report_is_kept_with_its_notices(reports: Reports, clock: Clock) -> None:
    consent_at = clock.now - timedelta(days=1)
    report = await reports.file(
        ReportKind.REPORT, SUBJECT, ANA, consent_at=consent_at, consent_version="2026-11"
    )
    assert (report.state, report.at, report.consent_at) == (ReportState.OPEN, clock.now, consent_at)
    notices = [
        Notice(report.id, 7, HERE, HERE, names_reporter=False),
        Notice(report.id, 8, HERE + 1, EVERYWHERE, names_reporter=True),
    ]
    for notice in notices:
        await reports.note_notice(notice)

    assert await reports.find(report.id) == report
    assert await reports.notices(report.id) == tuple(notices)
    assert await reports.open() == (report,)
    assert await reports.find(report.id + 1) is None


@pytest.mark.parametrize(
    ("kind", "limit", "reason"),
    [
        (ReportKind.REPORT, REPORTS_PER_DAY, Reason.TOO_MANY_REPORTS),
        (ReportKind.CLAIM, CLAIMS_PER_DAY, Reason.TOO_MANY_CLAIMS),
    ],
)
async def test_a_person_sends_a_few_within_a_day(
    reports: Reports, clock: Clock, kind: ReportKind, limit: int, reason: Reason
) -> None:
    async def try_to_report(message_id: int) -> Report | BaseException:
        [result] = await asyncio.gather(
            reported(reports, message_id, kind=kind), return_exceptions=True
        )
        return result

    results = await asyncio.gather(*map(try_to_report, range(1, limit + 3)))
    kept = [result for result in results if isinstance(result, Report)]
    refused = [result for result in results if isinstance(result, Refusal)]
    assert (len(kept), [refusal.reason for refusal in refused]) == (limit, [reason] * 2)
    await reported(reports, 50, by=BEN, kind=kind)

    earliest = min(report.at for report in kept)
    again = refused[0].values["again"]
    assert again == int((earliest + timedelta(days=1)).timestamp()) + 1
    clock.now = earliest + timedelta(days=1)
    await reported(reports, 60, kind=kind)


async def test_the_same_is_reported_once(reports: Reports) -> None:
    first = await reports.file(ReportKind.REPORT, SUBJECT, ANA)
    assert await reports.file(ReportKind.REPORT, SUBJECT, ANA) == first, "it has reached nobody"
    await reports.note_notice(Notice(first.id, 7, HERE, HERE, names_reporter=True))

    with pytest.raises(Refusal) as again:
        await reports.file(ReportKind.REPORT, SUBJECT, ANA)
    assert again.value.reason is Reason.ALREADY_REPORTED
    claim = await reports.file(ReportKind.CLAIM, SUBJECT, ANA)
    assert claim != first, "a claim says something else"
    await reports.file(ReportKind.REPORT, SUBJECT, BEN)
    await reports.decide(first.id, ReportState.DISMISSED, by=OPERATOR, where=EVERYWHERE)
    with pytest.raises(Refusal) as again:
        await reports.file(ReportKind.REPORT, SUBJECT, ANA)
    assert again.value.reason is Reason.REPORT_DECIDED


async def test_a_claim_is_about_the_voice_whatever_it_said(reports: Reports) -> None:
    claim = await reports.file(ReportKind.CLAIM, SUBJECT, ANA)
    await reports.decide(claim.id, ReportState.DISMISSED, by=OPERATOR, where=EVERYWHERE)

    with pytest.raises(Refusal) as again:
        await reports.file(ReportKind.CLAIM, replace(SUBJECT, message_id=9), ANA)
    assert again.value.reason is Reason.REPORT_DECIDED


async def test_what_is_heard_later_in_a_voice_channel_is_something_else(reports: Reports) -> None:
    heard = replace(SUBJECT, message_id=None)
    first = await reports.file(ReportKind.REPORT, heard, ANA)
    assert (await reports.file(ReportKind.REPORT, heard, ANA)).id != first.id


async def test_the_operators_word_is_the_last(reports: Reports, clock: Clock) -> None:
    report = await reported(reports, 1)
    here = await reports.decide(report.id, ReportState.DISMISSED, by=BEN, where=HERE)
    assert here is not None
    assert (here.state, here.decided_in) == (ReportState.DISMISSED, HERE)
    upheld = await reports.decide(report.id, ReportState.UPHELD, by=OPERATOR, where=EVERYWHERE)
    assert upheld is not None
    assert (upheld.decided_by, upheld.decided_at) == (OPERATOR, clock.now)

    assert await reports.decide(report.id, ReportState.DISMISSED, by=BEN, where=HERE) == upheld
    assert await reports.open() == ()
    assert await reports.decide(99, ReportState.UPHELD, by=BEN, where=HERE) is None


async def test_reports_are_kept_for_a_while(reports: Reports, clock: Clock) -> None:
    decided, waiting = await reported(reports, 1), await reported(reports, 2)
    await reports.decide(decided.id, ReportState.UPHELD, by=BEN, where=HERE)
    decided_at = clock.now

    assert await reports.drop_before(decided_at)
    assert await reports.find(decided.id) is not None
    assert await reports.drop_before(clock())
    assert await reports.find(decided.id) is None
    assert await reports.notices(decided.id) == ()
    assert await reports.find(waiting.id) == waiting
    assert await reports.drop_before(clock() + timedelta(days=DAYS_OPEN))
    assert await reports.find(waiting.id) is None


async def test_a_voice_stays_frozen_until_its_last_claim_is_dismissed(policy: Policy) -> None:
    claims = [await policy.reports.file(ReportKind.CLAIM, SUBJECT, each) for each in (ANA, BEN)]
    for claim in claims:
        await policy.moderation.freeze(
            12, OWNER, EVERYWHERE, FreezeKind.FROZEN, by=claim.reporter_id, report_id=claim.id
        )
    await dismiss(policy, claims[0].id, by=OPERATOR, where=EVERYWHERE)
    assert await policy.moderation.freeze_of(12, HERE) is not None
    await dismiss(policy, claims[1].id, by=None, where=EVERYWHERE)
    assert await policy.moderation.freeze_of(12, HERE) is None


async def test_dismissing_lifts_only_what_was_frozen_on_that_report(policy: Policy) -> None:
    ours = await policy.reports.file(ReportKind.REPORT, SUBJECT, ANA)
    other = await policy.reports.file(ReportKind.REPORT, SUBJECT, BEN)
    await policy.moderation.freeze(
        12, OWNER, HERE, FreezeKind.FROZEN, by=OPERATOR, report_id=ours.id
    )
    await dismiss(policy, other.id, by=OPERATOR, where=HERE)
    assert await policy.moderation.freeze_of(12, HERE) is not None
    await dismiss(policy, ours.id, by=OPERATOR, where=EVERYWHERE)
    assert await policy.moderation.freeze_of(12, HERE) is not None, "the server decides for itself"

    with pytest.raises(Refusal) as late:
        await dismiss(policy, ours.id, by=BEN, where=HERE)
    assert late.value.reason is Reason.DECIDED_BY_OPERATOR


async def test_posts_are_found_until_they_are_old(policy: Policy, clock: Clock) -> None:
    policy.posts._clock = clock
    assert await policy.posts.note(7, HERE + 1, HERE, voice_id=None, owner_id=OWNER)
    assert await policy.posts.note(8, HERE + 1, None, voice_id=12, owner_id=OWNER)
    found = await policy.posts.find(8)
    assert found is not None
    assert (found.guild_id, found.voice_id, found.owner_id) == (None, 12, OWNER)

    assert await policy.posts.drop_before(found.at)
    assert await policy.posts.find(7) is None
    assert await policy.posts.find(8) == found
