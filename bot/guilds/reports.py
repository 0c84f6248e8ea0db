"""Reports and claims, what became of them, and the messages that show them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, Select, delete, func, select

from bot.errors import Reason, Refusal
from bot.guilds.records import EVERYWHERE, Notice, Report, ReportKind, ReportState
from bot.guilds.tables import ReportNoticeRow, ReportRow
from bot.storage.database import DatabaseUser, carried_out

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from sqlalchemy.ext.asyncio import AsyncSession

    from bot.guilds.records import Subject
    from bot.storage.database import Database

DAY = timedelta(days=1)
REPORTS_PER_DAY = 5
CLAIMS_PER_DAY = 3
"""What one person may send within 24 hours."""

DAYS_OPEN = 365
"""A report that nobody decides is kept for so much longer than one that was decided."""

MAX_LISTED = 100


class Reports(DatabaseUser):
    """Keeps reports, claims, and the notices: the messages that show them to who decides.

    Each call is one short transaction, which runs to its end even if the caller is cancelled. Who
    may decide is checked by the caller, who also notes it in the audit log.
    """

    def __init__(
        self, database: Database, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        super().__init__(database)
        self._clock = clock

    @carried_out
    async def file(
        self,
        kind: ReportKind,
        subject: Subject,
        reporter_id: int,
        *,
        consent_at: datetime | None = None,
        consent_version: str | None = None,
    ) -> Report:
        """Store a report, or return the same person's earlier one if that has reached nobody.

        Raises `Refusal` if the person has reported the same before, or too much within a day.

        Args:
            kind: What the person says.
            subject: What it is about.
            reporter_id: Who reports it.
            consent_at: When the owner confirmed that the voice may be cloned, if it is known.
            consent_version: Which statement they confirmed, if it is known.
        """
        async with self._database.write() as session:
            await self._database.lock(session, f"reports of {reporter_id}")
            theirs = (ReportRow.reporter_id == reporter_id) & (ReportRow.kind == kind)
            earlier = await _earlier(session, theirs, kind, subject)
            if earlier is not None:
                return earlier
            await self._check_limit(session, theirs, kind)
            row = ReportRow(
                kind=kind,
                guild_id=subject.guild_id,
                channel_id=subject.channel_id,
                message_id=subject.message_id,
                voice_id=subject.voice_id,
                owner_id=subject.owner_id,
                reporter_id=reporter_id,
                at=self._clock(),
                consent_at=consent_at,
                consent_version=consent_version,
                state=ReportState.OPEN,
                asker_id=subject.asker_id,
            )
            session.add(row)
            await session.flush()
            return row.to_report()

    @carried_out
    async def find(self, report_id: int) -> Report | None:
        """Return a report; None if it is not kept any more."""
        async with self._database.read() as session:
            row = await session.get(ReportRow, report_id)
            return None if row is None else row.to_report()

    @carried_out
    async def open(self, limit: int = MAX_LISTED) -> tuple[Report, ...]:
        """Return the reports that nobody has decided, the earliest first."""
        query = select(ReportRow).where(_is_open()).order_by(ReportRow.id).limit(limit)
        async with self._database.read() as session:
            return tuple(row.to_report() for row in await session.scalars(query))

    @carried_out
    async def open_about(self, voice_id: int, limit: int) -> tuple[Report, ...]:
        """Return the reports about a voice that nobody has decided, the latest first."""
        query = select(ReportRow).where(ReportRow.voice_id == voice_id, _is_open())
        latest = query.order_by(ReportRow.id.desc()).limit(limit)
        async with self._database.read() as session:
            return tuple(row.to_report() for row in await session.scalars(latest))

    @carried_out
    async def is_claimed(self, voice_id: int) -> bool:
        """Return whether somebody's claim on a voice is still open."""
        claims = _claims_on(voice_id).where(_is_open()).limit(1)
        async with self._database.read() as session:
            return await session.scalar(claims) is not None

    @carried_out
    async def decide(
        self, report_id: int, state: ReportState, *, by: int | None, where: int
    ) -> Report | None:
        """Note what became of a report; return it as it is now, or None if it is not kept.

        What an operator has decided stays, whoever decides something else later.

        Args:
            report_id: The report.
            state: What became of it.
            by: The Discord id of who decides it; None for the operator's command line.
            where: The server that decides it, or `EVERYWHERE`.
        """
        async with self._database.write() as session:
            query = select(ReportRow).where(ReportRow.id == report_id).with_for_update()
            row = await session.scalar(query)
            if row is None:
                return None
            if row.decided_in != EVERYWHERE:
                row.state, row.decided_by = state, by
                row.decided_in, row.decided_at = where, self._clock()
            return row.to_report()

    @carried_out
    async def note_notice(self, notice: Notice) -> None:
        """Keep in mind that a message shows a report."""
        async with self._database.write() as session:
            session.add(
                ReportNoticeRow(
                    report_id=notice.report_id,
                    message_id=notice.message_id,
                    channel_id=notice.channel_id,
                    guild_id=notice.guild_id,
                    names_reporter=notice.names_reporter,
                )
            )

    @carried_out
    async def notices(self, report_id: int) -> tuple[Notice, ...]:
        """Return the messages that show a report."""
        query = select(ReportNoticeRow).where(ReportNoticeRow.report_id == report_id)
        async with self._database.read() as session:
            rows = await session.scalars(query.order_by(ReportNoticeRow.message_id))
            return tuple(row.to_notice() for row in rows)

    def drop_before(self, at: datetime) -> asyncio.Future[bool]:
        """Delete the reports that were decided before that time, or very old. It is done later."""
        ignored = _is_open() & (ReportRow.at < at - timedelta(days=DAYS_OPEN))
        old = delete(ReportRow).where((ReportRow.decided_at < at) | ignored)
        return self._database.later("end of old reports", lambda session: session.execute(old))

    async def _check_limit(
        self, session: AsyncSession, theirs: ColumnElement[bool], kind: ReportKind
    ) -> None:
        """Raise `Refusal` if a person has sent as much within 24 hours as they may."""
        since = self._clock() - DAY
        limit = CLAIMS_PER_DAY if kind is ReportKind.CLAIM else REPORTS_PER_DAY
        lately = select(ReportRow.at).where(theirs, ReportRow.at > since)
        latest = (await session.scalars(lately.order_by(ReportRow.at.desc()).limit(limit))).all()
        if len(latest) < limit:
            return
        again = int((latest[-1] + DAY).timestamp()) + 1
        if kind is ReportKind.CLAIM:
            raise Refusal(Reason.TOO_MANY_CLAIMS, limit=limit, again=again)
        raise Refusal(Reason.TOO_MANY_REPORTS, limit=limit, again=again)


async def _earlier(
    session: AsyncSession, theirs: ColumnElement[bool], kind: ReportKind, subject: Subject
) -> Report | None:
    """Return a person's earlier report of the same speech if it has reached nobody, or None.

    Raises `Refusal` if it has reached somebody, or was a claim that the operator has dismissed.
    """
    if kind is ReportKind.CLAIM and subject.voice_id is not None:
        same = ReportRow.voice_id == subject.voice_id
    elif subject.message_id is not None:
        same = ReportRow.message_id == subject.message_id
    else:
        return None  # what is heard later in the same channel is something else
    query = select(ReportRow).where(theirs, same).order_by(ReportRow.id.desc()).limit(1)
    row = await session.scalar(query)
    if row is None:
        return None
    if row.state != ReportState.OPEN:
        raise Refusal(Reason.REPORT_DECIDED)
    notices = select(func.count()).where(ReportNoticeRow.report_id == row.id)
    if await session.scalar(notices):
        raise Refusal(Reason.ALREADY_REPORTED)
    return row.to_report()


def _claims_on(voice_id: int) -> Select[int]:
    return select(ReportRow.id).where(
        ReportRow.voice_id == voice_id, ReportRow.kind == ReportKind.CLAIM
    )


def _is_open() -> ColumnElement[bool]:
    return ReportRow.state == ReportState.OPEN
