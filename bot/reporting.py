"""What happens to a report: who is sent it, what they decide, and what that changes."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import discord
import structlog

from bot.errors import Reason, Refusal
from bot.guilds.records import (
    EVERYWHERE,
    AuditAction,
    FreezeKind,
    Notice,
    ReportKind,
    ReportState,
    Subject,
)
from bot.interface import report_card, report_wording
from bot.interface.delivery import DISCORD_FAILURES
from bot.interface.report_buttons import decision_buttons
from bot.interface.report_card import Case, Decision
from bot.interface.report_wording import Reached
from bot.interface.views import ask_to_delete
from bot.interface.wording import voice_name
from bot.storage.errors import DatabaseFailedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bot.guilds.access import Actor
    from bot.guilds.policy import Policy
    from bot.guilds.records import Freeze, Report
    from bot.interface.reply import Reply
    from bot.voices.library import VoiceLibrary
    from bot.voices.records import SavedVoice

log = structlog.get_logger(__name__)

_NOTED = {
    Decision.FREEZE: AuditAction.FROZEN,
    Decision.UNFREEZE: AuditAction.UNFROZEN,
    Decision.REMOVE: AuditAction.REMOVED,
    Decision.BLOCK: AuditAction.BLOCKED,
    Decision.UNBLOCK: AuditAction.UNBLOCKED,
    Decision.DISMISS: AuditAction.DECIDED,
}

_UPHOLDS = {Decision.REMOVE, Decision.BLOCK}
"""The decisions after which a report doesn't wait any more."""


class Reporting:
    """Sends reports to those who decide about them, and carries out what they decide.

    Args:
        client: The bot.
        policy: What is allowed, and what was reported.
        library: The saved voices.
        enforce: Ends what may not go on, once something was decided.
        operators: The Discord ids of those who run the bot.
        operators_channel: The id of the channel for the operators' reports; None for direct
            messages to each of them.
    """

    def __init__(
        self,
        client: discord.Client,
        *,
        policy: Policy,
        library: VoiceLibrary,
        enforce: Callable[[], Awaitable[None]],
        operators: frozenset[int] = frozenset(),
        operators_channel: int | None = None,
    ) -> None:
        self._client = client
        self._policy = policy
        self._library = library
        self._enforce = enforce
        self._operators = operators
        self._operators_channel = operators_channel

    async def posted(self, message_id: int, reporter_id: int) -> Subject:
        """Return what a message holds. Raises `Refusal` if that is not to be reported."""
        post = await self._policy.posts.find(message_id)
        if post is None:
            raise Refusal(Reason.NOT_MY_SPEECH)
        subject = Subject(
            guild_id=post.guild_id,
            channel_id=post.channel_id,
            message_id=message_id,
            voice_id=post.voice_id,
            owner_id=post.owner_id,
        )
        return _not_ones_own(subject, reporter_id)

    def heard(
        self, guild_id: int, channel_id: int, voice_id: int, owner_id: int, reporter_id: int
    ) -> Subject:
        """Return what was heard in a voice channel. Raises `Refusal` if it is one's own."""
        subject = Subject(
            guild_id=guild_id,
            channel_id=channel_id,
            message_id=None,
            voice_id=voice_id,
            owner_id=owner_id,
        )
        return _not_ones_own(subject, reporter_id)

    async def reported_by(self, reporter_id: int, report_id: int) -> Subject:
        """Return what a person has reported. Raises `Refusal` if somebody else has."""
        report = await self._find(report_id)
        if report.reporter_id != reporter_id:
            raise Refusal(Reason.REPORT_NOT_YOURS)
        return Subject(
            guild_id=report.guild_id,
            channel_id=report.channel_id,
            message_id=report.message_id,
            voice_id=report.voice_id,
            owner_id=report.owner_id,
        )

    async def report(self, subject: Subject, reporter_id: int, reason: str) -> tuple[Report, str]:
        """Send a report to those who decide; return it, and what its sender is told.

        Args:
            subject: What is reported.
            reporter_id: Who reports it.
            reason: What they write about it. It is shown, and not stored.
        """
        report = await self._file(ReportKind.REPORT, subject, reporter_id)
        reached = await self._send(report, reason)
        return report, report_wording.report_sent(reached)

    async def claim(self, subject: Subject, claimant_id: int) -> str:
        """Freeze a voice everywhere at once and report it; return what the person is told.

        Args:
            subject: Speech of the voice.
            claimant_id: Who says that it is their own voice.
        """
        claim = await self._file(ReportKind.CLAIM, subject, claimant_id)
        voice_id = claim.voice_id
        is_saved = await self._voice(voice_id) is not None
        if voice_id is not None and is_saved:
            await self._policy.moderation.freeze(
                voice_id,
                claim.owner_id,
                EVERYWHERE,
                FreezeKind.FROZEN,
                by=claimant_id,
                report_id=claim.id,
            )
            await self._enforce()
        reached = await self._send(claim, "")
        return report_wording.claim_sent(reached, claim.id, is_frozen=is_saved)

    async def decide(self, reply: Reply, report_id: int, decision: Decision, where: int) -> str:
        """Decide something about a report; return what whoever has decided it is told.

        Raises `Refusal` if they may not.

        Args:
            reply: Answers whoever decides it.
            report_id: The report.
            decision: What they decide.
            where: In this server, or `EVERYWHERE`.
        """
        report = await self._find(report_id)
        await self._check_may_decide(reply.actor, report, decision, where)
        case = await self._case(report)
        if decision is Decision.REMOVE and where == EVERYWHERE and case.voice_name is not None:
            voice = f"the voice {voice_name(case.voice_name)} with its recording"
            if not await reply.ask(ask_to_delete(voice)):
                raise Refusal(Reason.VOICE_KEPT, name=case.voice_name)
        await self._carry_out(report, decision, where, by=reply.actor.user_id)
        self._policy.audit.note(
            _NOTED[decision],
            actor_id=reply.actor.user_id,
            guild_id=reply.actor.guild_id if where == EVERYWHERE else where,
            voice_id=report.voice_id,
            owner_id=report.owner_id,
            details=f"{report.kind} {report.id}",
        )
        case = await self._case(await self._find(report_id))
        await self._update(case)
        return report_card.decided(decision, case, where)

    async def _carry_out(
        self, report: Report, decision: Decision, where: int, *, by: int
    ) -> None:
        moderation, voice_id, owner_id = self._policy.moderation, report.voice_id, report.owner_id
        if decision is Decision.BLOCK:
            await moderation.block(owner_id, where, by=by, report_id=report.id)
            await self._enforce()
        elif decision is Decision.UNBLOCK:
            await moderation.unblock(owner_id, where)
        elif decision is Decision.UNFREEZE and voice_id is not None:
            freeze = await self._freeze(voice_id, where)
            if freeze is not None and freeze.kind is FreezeKind.FROZEN:
                await moderation.lift(voice_id, where)
        elif decision in {Decision.FREEZE, Decision.REMOVE} and voice_id is not None:
            is_final = decision is Decision.REMOVE
            kind = FreezeKind.REMOVED if is_final else FreezeKind.FROZEN
            await moderation.freeze(voice_id, owner_id, where, kind, by=by, report_id=report.id)
            await self._enforce()  # before it is deleted, so that its owner is told why
            voice = await self._voice(voice_id)
            if voice is not None and is_final and where == EVERYWHERE:
                with suppress(Refusal):  # its owner has just deleted it
                    await self._library.delete(voice)
        if decision in _UPHOLDS:
            await self._policy.reports.decide(report.id, ReportState.UPHELD, by=by, where=where)
        elif decision is Decision.DISMISS:
            await self._dismiss(report, where, by=by)

    async def _dismiss(self, report: Report, where: int, *, by: int | None) -> None:
        """Close a report, and let its voice be used again if nothing else keeps it frozen."""
        reports = self._policy.reports
        decided = await reports.decide(report.id, ReportState.DISMISSED, by=by, where=where)
        if decided is not None and decided.decided_in != where:
            raise Refusal(Reason.DECIDED_BY_OPERATOR)
        freeze = await self._freeze(report.voice_id, where) if report.voice_id else None
        if freeze is None or freeze.kind is not FreezeKind.FROZEN or freeze.report_id is None:
            return
        if report.kind is ReportKind.REPORT:
            is_over = freeze.report_id == report.id
        else:
            # The earliest claim has frozen the voice. It stays frozen until the last is decided.
            first = await reports.find(freeze.report_id)
            is_of_claims = first is None or first.kind is ReportKind.CLAIM
            is_over = is_of_claims and not await reports.is_claimed(freeze.voice_id)
        if is_over:
            await self._policy.moderation.lift(freeze.voice_id, where)

    async def _check_may_decide(
        self, actor: Actor, report: Report, decision: Decision, where: int
    ) -> None:
        """Raise `Refusal` if a person may not decide something about a report."""
        if where == EVERYWHERE:
            if actor.user_id not in self._operators:
                raise Refusal(Reason.ONLY_OPERATORS)
        elif not where == actor.guild_id == report.guild_id:
            raise Refusal(Reason.REPORT_OF_ANOTHER_SERVER)
        elif not actor.is_manager:
            raise Refusal(Reason.ONLY_MANAGERS)
        elif actor.user_id == report.owner_id:
            raise Refusal(Reason.REPORT_ABOUT_YOU)
        is_for_operators = report.kind is ReportKind.CLAIM and decision in {
            Decision.DISMISS,
            Decision.UNFREEZE,
        }
        if is_for_operators and where != EVERYWHERE:
            raise Refusal(Reason.ONLY_OPERATORS)
        if decision is Decision.BLOCK:
            await self._check_may_block(actor, report.owner_id, where)

    async def _check_may_block(self, actor: Actor, owner_id: int, where: int) -> None:
        """Raise `Refusal` for those whom nobody can block, or only a server's owner."""
        if owner_id in self._operators:
            raise Refusal(Reason.CANNOT_BLOCK_OPERATORS)
        guild = self._client.get_guild(where)
        if guild is None or guild.owner_id == actor.user_id:
            return
        try:
            member = guild.get_member(owner_id) or await guild.fetch_member(owner_id)
        except DISCORD_FAILURES:  # who has left manages nothing
            return
        if member.guild_permissions.manage_guild:
            raise Refusal(Reason.CANNOT_BLOCK_MANAGERS)

    async def _file(self, kind: ReportKind, subject: Subject, reporter_id: int) -> Report:
        """Store a report with the owner's consent as it is now, and note it in the audit log."""
        voice_id, owner_id = subject.voice_id, subject.owner_id
        voice = await self._voice(voice_id)
        consent = voice.consent if voice else await self._library.consent_of(owner_id)
        report = await self._policy.reports.file(
            kind,
            subject,
            reporter_id,
            consent_at=consent.attested_at if consent is not None else None,
            consent_version=consent.statement_version if consent is not None else None,
        )
        self._policy.audit.note(
            AuditAction.CLAIMED if kind is ReportKind.CLAIM else AuditAction.REPORTED,
            actor_id=reporter_id,
            guild_id=report.guild_id,
            voice_id=voice_id,
            owner_id=owner_id,
            details=f"{kind} {report.id}",
        )
        return report

    async def _find(self, report_id: int) -> Report:
        report = await self._policy.reports.find(report_id)
        if report is None:
            raise Refusal(Reason.REPORT_GONE)
        return report

    async def _freeze(self, voice_id: int, where: int) -> Freeze | None:
        """Return what keeps a voice from being used by a server's own decision, or everywhere."""
        freezes = await self._policy.moderation.freezes_among((voice_id,))
        return next((freeze for freeze in freezes if freeze.guild_id == where), None)

    async def _voice(self, voice_id: int | None) -> SavedVoice | None:
        """Return a voice; None if it was never saved, or was deleted."""
        if voice_id is None:
            return None
        return (await self._library.about((voice_id,))).get(voice_id)

    async def _case(self, report: Report) -> Case:
        voice_ids = () if report.voice_id is None else (report.voice_id,)
        voice = await self._voice(report.voice_id)
        decisions = await self._policy.moderation.decisions((report.owner_id,), voice_ids)
        return Case(report, None if voice is None else voice.name, decisions)

    async def _send(self, report: Report, reason: str) -> Reached:
        """Show a report to the server's moderators and to the operators."""
        case = await self._case(report)
        moderators = False
        if report.guild_id is not None:
            channel_id = (await self._policy.settings.of(report.guild_id)).report_channel_id
            if channel_id is not None:
                moderators = await self._post(
                    case, reason, report.guild_id, self._channel(channel_id, report.guild_id)
                )
        places = await self._operators_places()
        posts = (self._post(case, reason, EVERYWHERE, place) for place in places)
        operators = any(await asyncio.gather(*posts))
        reached = Reached(moderators=moderators, operators=operators)
        if not reached.operators:
            log.warning("a report has not reached the operators", report=report.id)
        return reached

    async def _operators_places(self) -> list[discord.abc.Messageable]:
        """Where the operators read reports."""
        if self._operators_channel is not None:
            channel = self._channel(self._operators_channel)
            return [] if channel is None else [channel]
        people: list[discord.abc.Messageable] = []
        for user_id in sorted(self._operators):
            try:
                people.append(
                    self._client.get_user(user_id) or await self._client.fetch_user(user_id)
                )
            except DISCORD_FAILURES as error:
                log.warning("an operator can't be found", user=user_id, reason=repr(error))
        return people

    def _channel(
        self, channel_id: int, guild_id: int | None = None
    ) -> discord.abc.Messageable | None:
        """Return a channel if the bot may post reports there; None if it may not.

        Another process may know it better. Then it is tried.
        """
        channel = self._client.get_channel(channel_id)
        if channel is None:
            return self._client.get_partial_messageable(channel_id, guild_id=guild_id)
        if not isinstance(channel, discord.abc.Messageable) or not isinstance(
            channel, discord.abc.GuildChannel | discord.Thread
        ):
            return None
        allowed = channel.permissions_for(channel.guild.me)
        is_allowed = allowed.view_channel and allowed.send_messages and allowed.embed_links
        if not is_allowed or guild_id not in {None, channel.guild.id}:
            log.warning("reports may not be posted in their channel", channel=channel_id)
            return None
        return channel

    async def _post(
        self, case: Case, reason: str, where: int, place: discord.abc.Messageable | None
    ) -> bool:
        """Show a report somewhere; return whether that has worked."""
        if place is None:
            return False
        buttons = decision_buttons(case, where) or discord.utils.MISSING
        try:
            message = await place.send(
                report_card.in_their_words(reason) or None,
                embed=report_card.card(case, where),
                view=buttons,
                allowed_mentions=discord.AllowedMentions.none(),
            )
        except DISCORD_FAILURES as error:
            log.warning("report not sent", report=case.report.id, reason=repr(error))
            return False
        notice = Notice(case.report.id, message.id, message.channel.id, where)
        with suppress(DatabaseFailedError):  # it was sent, though it won't change any more
            await self._policy.reports.note_notice(notice)
        return True

    async def _update(self, case: Case) -> None:
        """Show in every notice of a report what was decided."""
        notices = await self._policy.reports.notices(case.report.id)
        await asyncio.gather(*(self._edit(notice, case) for notice in notices))

    async def _edit(self, notice: Notice, case: Case) -> None:
        place = self._client.get_partial_messageable(notice.channel_id)
        try:
            await place.get_partial_message(notice.message_id).edit(
                embed=report_card.card(case, notice.guild_id),
                view=decision_buttons(case, notice.guild_id),
            )
        except DISCORD_FAILURES as error:
            log.info("a report's notice stays as it is", reason=repr(error))


def _not_ones_own(subject: Subject, reporter_id: int) -> Subject:
    if subject.owner_id == reporter_id:
        raise Refusal(Reason.OWN_SPEECH)
    return subject
