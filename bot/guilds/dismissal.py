"""What ends when a report or a claim is dismissed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from bot.errors import Reason, Refusal
from bot.guilds.records import EVERYWHERE, AuditAction, FreezeKind, ReportKind, ReportState

if TYPE_CHECKING:
    from bot.guilds.policy import Policy
    from bot.guilds.records import Report


async def dismiss(policy: Policy, report_id: int, *, by: int | None, where: int) -> Report:
    """Close a report without more; its voice can be used again if nothing else keeps it frozen.

    Both are noted in the audit log. If a report is dismissed once more, what the first time has
    not come to is done.

    Raises `Refusal` if the report isn't kept any more, or was decided otherwise.

    Args:
        policy: Keeps reports, frozen voices and the audit log.
        report_id: The report.
        by: The Discord id of who decides it; None for the operator's command line.
        where: The server that decides it, or `EVERYWHERE`.
    """
    report = await policy.reports.decide(report_id, ReportState.DISMISSED, by=by, where=where)
    if report is None:
        raise Refusal(Reason.REPORT_GONE)
    if report.decided_in != where:
        raise Refusal(Reason.DECIDED_BY_OPERATOR)
    if report.state is not ReportState.DISMISSED:
        raise Refusal(Reason.DECIDED_MEANWHILE)
    note = partial(
        policy.audit.note,
        actor_id=by,
        guild_id=report.guild_id,
        voice_id=report.voice_id,
        owner_id=report.owner_id,
        details=f"{report.kind} {report.id}",
    )
    note(AuditAction.DECIDED)
    if report.voice_id is None or not await _is_freeze_over(policy, report, report.voice_id, where):
        return report
    if await policy.moderation.lift(report.voice_id, where) is not None:
        note(AuditAction.UNFROZEN)
    return report


async def _is_freeze_over(policy: Policy, report: Report, voice_id: int, where: int) -> bool:
    """Whether what a voice was frozen on is dismissed now, and nobody's claim on it waits."""
    freezes = await policy.moderation.freezes_among((voice_id,))
    freeze = next((each for each in freezes if each.guild_id == where), None)
    if freeze is None or freeze.kind is not FreezeKind.FROZEN or freeze.report_id is None:
        return False
    if where == EVERYWHERE and await policy.reports.is_claimed(voice_id):
        return False
    frozen_on = await policy.reports.find(freeze.report_id)
    if frozen_on is None:  # it is so old that it isn't kept
        return report.kind is ReportKind.CLAIM
    return frozen_on.state is ReportState.DISMISSED and frozen_on.decided_in == where
