"""What ends when a report or a claim is dismissed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.errors import Reason, Refusal
from bot.guilds.records import FreezeKind, ReportKind, ReportState

if TYPE_CHECKING:
    from bot.guilds.policy import Policy
    from bot.guilds.records import Report


async def dismiss(policy: Policy, report_id: int, *, by: int | None, where: int) -> Report:
    """Close a report without more; its voice can be used again if nothing else keeps it frozen.

    Raises `Refusal` if the report isn't kept any more, or a server can't decide it.

    Args:
        policy: Keeps reports and frozen voices.
        report_id: The report.
        by: The Discord id of who decides it; None for the operator's command line.
        where: The server that decides it, or `EVERYWHERE`.
    """
    report = await policy.reports.decide(report_id, ReportState.DISMISSED, by=by, where=where)
    if report is None:
        raise Refusal(Reason.REPORT_GONE)
    if report.decided_in != where:
        raise Refusal(Reason.DECIDED_BY_OPERATOR)
    if report.voice_id is not None and await _is_freeze_over(policy, report, where):
        await policy.moderation.lift(report.voice_id, where)
    return report


async def _is_freeze_over(policy: Policy, report: Report, where: int) -> bool:
    """Whether a voice was frozen on a report, or on claims of which the last was dismissed."""
    voice_ids = () if report.voice_id is None else (report.voice_id,)
    freezes = await policy.moderation.freezes_among(voice_ids)
    freeze = next((each for each in freezes if each.guild_id == where), None)
    if freeze is None or freeze.kind is not FreezeKind.FROZEN or freeze.report_id is None:
        return False
    if report.kind is ReportKind.REPORT:
        return freeze.report_id == report.id
    frozen_on = await policy.reports.find(freeze.report_id)
    is_on_claims = frozen_on is None or frozen_on.kind is ReportKind.CLAIM
    return is_on_claims and not await policy.reports.is_claimed(freeze.voice_id)
