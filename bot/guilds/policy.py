"""What is allowed, where, and what happened, as one object over one database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.errors import Reason, Refusal
from bot.guilds.audit import AuditLog
from bot.guilds.ledger import Ledger
from bot.guilds.moderation import Moderation
from bot.guilds.posts import Posts
from bot.guilds.records import FreezeKind, ReportKind, ReportState
from bot.guilds.reports import Reports
from bot.guilds.server_settings import SettingsOfServers

if TYPE_CHECKING:
    from bot.guilds.access import Action, Actor
    from bot.guilds.records import Report
    from bot.storage.database import Database


class Policy:
    """Decides what is allowed, and holds what this room keeps; each part is an attribute.

    Attributes:
        ledger: What was used and is being used.
        settings: What the admins of servers decided.
        moderation: Who is blocked, and which voices are frozen.
        audit: What happened.
        posts: Which message holds whose speech.
        reports: What people reported.
    """

    def __init__(self, database: Database) -> None:
        self.ledger = Ledger(database)
        self.settings = SettingsOfServers(database)
        self.moderation = Moderation(database)
        self.audit = AuditLog(database)
        self.posts = Posts(database)
        self.reports = Reports(database)

    async def check(self, actor: Actor, action: Action) -> None:
        """Raise `Refusal` if a person may not do something where they are.

        `Action.OWN` is always allowed: what is one's own can be seen, stopped and deleted anywhere.
        """

    async def dismiss(self, report_id: int, *, by: int | None, where: int) -> Report:
        """Close a report without more; its voice can be used again if nothing else keeps it frozen.

        Raises `Refusal` if the report isn't kept any more, or a server can't decide it.

        Args:
            report_id: The report.
            by: The Discord id of who decides it; None for the operator's command line.
            where: The server that decides it, or `EVERYWHERE`.
        """
        report = await self.reports.decide(report_id, ReportState.DISMISSED, by=by, where=where)
        if report is None:
            raise Refusal(Reason.REPORT_GONE)
        if report.decided_in != where:
            raise Refusal(Reason.DECIDED_BY_OPERATOR)
        if report.voice_id is not None and await self._is_freeze_over(report, where):
            await self.moderation.lift(report.voice_id, where)
        return report

    async def _is_freeze_over(self, report: Report, where: int) -> bool:
        """Whether a voice was frozen on a report, or on claims, of which the last was dismissed."""
        voice_ids = () if report.voice_id is None else (report.voice_id,)
        freezes = await self.moderation.freezes_among(voice_ids)
        freeze = next((each for each in freezes if each.guild_id == where), None)
        if freeze is None or freeze.kind is not FreezeKind.FROZEN or freeze.report_id is None:
            return False
        if freeze.report_id == report.id and report.kind is ReportKind.REPORT:
            return True
        frozen_on = await self.reports.find(freeze.report_id)
        is_on_claims = frozen_on is None or frozen_on.kind is ReportKind.CLAIM
        is_claim = report.kind is ReportKind.CLAIM
        return is_claim and is_on_claims and not await self.reports.is_claimed(freeze.voice_id)

    async def keeps_anything_about(self, user_id: int) -> bool:
        """Return whether `forget` would erase anything."""
        return await self.audit.keeps_anything_about(user_id)

    async def forget(self, user_id: int) -> None:
        """Erase what this room keeps about a person, once their voices are erased.

        Blocks stay, and so does what moderators decided, until it is old.
        """
        await self.audit.forget(user_id)
        await self.moderation.forget(user_id)
