"""What happens to a report: who is sent it, what they decide, and what that changes."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import discord

from bot.errors import Reason, Refusal
from bot.guilds.dismissal import dismiss
from bot.guilds.records import (
    EVERYWHERE,
    AuditAction,
    FreezeKind,
    ReportKind,
    ReportState,
    Subject,
)
from bot.interface.message_links import message_of
from bot.interface.reports import card as report_card
from bot.interface.reports.card import Case, Decision
from bot.interface.typed_text import voice_name
from bot.interface.views import ask_to_delete
from bot.interface.voice_channels import check_knows_voice, voice_channel_of
from bot.interface.wording import reports as report_wording
from bot.storage.errors import DatabaseFailedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from bot.guilds.access import Actor
    from bot.guilds.policy import Policy
    from bot.guilds.records import Report
    from bot.interface.reply import Reply
    from bot.interface.reports.notices import ReportNotices
    from bot.interface.wording.reports import Reached
    from bot.playback.players import GuildPlayers
    from bot.voices.library import VoiceLibrary
    from bot.voices.records import SavedVoice

_NOTED = {
    Decision.FREEZE: AuditAction.FROZEN,
    Decision.UNFREEZE: AuditAction.UNFROZEN,
    Decision.REMOVE: AuditAction.REMOVED,
    Decision.BLOCK: AuditAction.BLOCKED,
    Decision.UNBLOCK: AuditAction.UNBLOCKED,
}
"""What the audit log calls a decision. `dismiss` notes by itself what it does."""

_ABOUT_PEOPLE = (Decision.BLOCK, Decision.UNBLOCK)

MAX_UPDATED = 5
"""So many reports show at once that their voice has another recording. Others do when decided."""


class Reporting:
    """Sends reports to those who decide about them, and carries out what they decide.

    Args:
        client: The bot.
        policy: What is allowed, and what was reported.
        library: The saved voices.
        players: What speaks in voice channels.
        notices: Shows reports to those who decide.
        enforce: Ends what may not go on, once something was decided.
    """

    def __init__(  # noqa: PLR0913 - each part is one that others have as well
        self,
        client: discord.Client,
        policy: Policy,
        library: VoiceLibrary,
        players: GuildPlayers,
        notices: ReportNotices,
        *,
        enforce: Callable[[], Awaitable[None]],
    ) -> None:
        self._client = client
        self._policy = policy
        self._library = library
        self._players = players
        self._notices = notices
        self._enforce = enforce
        self._sending: set[int] = set()  # the ids of reports

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
            asker_id=post.asker_id,
        )
        return _not_ones_own(subject, reporter_id)

    def heard(self, person: discord.User | discord.Member) -> Subject:
        """Return what is heard in a person's voice channel, or was heard there last.

        Raises `Refusal` if there is no such thing, or it is their own.
        """
        channel = voice_channel_of(person)
        if channel is None:
            check_knows_voice(person)
            raise Refusal(Reason.JOIN_FIRST_TO_REPORT)
        spoken = self._players.last_spoken(channel)
        if spoken is None:
            raise Refusal(Reason.NOTHING_HEARD)
        subject = Subject(
            guild_id=channel.guild.id,
            channel_id=channel.id,
            message_id=None,
            voice_id=spoken.voice_id,
            owner_id=spoken.voice_owner_id,
            asker_id=None if spoken.owner_id == spoken.voice_owner_id else spoken.owner_id,
        )
        return _not_ones_own(subject, person.id)

    async def meant(self, person: discord.User | discord.Member, link: str | None) -> Subject:
        """Return what a person means: the message that a link leads to, or what they hear.

        Raises `Refusal` if there is no such thing, or it is their own.
        """
        if link is None:
            return self.heard(person)
        return await self.posted(message_of(link), person.id)

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
            asker_id=report.asker_id,
        )

    async def report(self, subject: Subject, reporter_id: int, reason: str) -> tuple[Report, str]:
        """Send a report to those who decide; return it, and what its sender is told.

        Args:
            subject: What is reported.
            reporter_id: Who reports it.
            reason: What they write about it. It is shown, and not stored.
        """
        async with self._filed(ReportKind.REPORT, subject, reporter_id) as report:
            reached = await self._send(report, reason)
        return report, report_wording.report_sent(reached)

    async def claim(self, subject: Subject, claimant_id: int) -> str:
        """Freeze a voice everywhere at once and report it; return what the person is told.

        Args:
            subject: Speech of the voice.
            claimant_id: Who says that it is their own voice.
        """
        if subject.owner_id == claimant_id:
            raise Refusal(Reason.OWN_SPEECH)
        async with self._filed(ReportKind.CLAIM, subject, claimant_id) as claim:
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

    async def note_new_recording(self, voice_id: int) -> None:
        """Let those who decide about a voice see that it has another recording now."""
        with suppress(DatabaseFailedError):  # they see it when they decide
            for report in await self._policy.reports.open_about(voice_id, MAX_UPDATED):
                await self._notices.update(await self._case(report))

    async def decide(self, reply: Reply, report_id: int, decision: Decision, where: int) -> str:
        """Decide something about a report; return what whoever has decided it is told.

        Raises `Refusal` if they may not, or can't any more. All notices of the report show then how
        it stands, if they did not: it may have been decided elsewhere, such as at a terminal.

        Args:
            reply: Answers whoever decides it.
            report_id: The report.
            decision: What they decide.
            where: In this server, or `EVERYWHERE`.
        """
        report = await self._find(report_id)
        await self._check_may_decide(reply.actor, report, decision, where)
        case = await self._case(report)
        if _deletes(decision, case, where):
            voice = f"the voice {voice_name(str(case.voice_name))} with its recording"
            if not await reply.ask(ask_to_delete(voice)):
                raise Refusal(Reason.VOICE_KEPT, name=str(case.voice_name))
            case = await self._case(await self._find(report_id))  # the answer may take minutes
        try:
            await self._carry_out(case, decision, where, by=reply.actor.user_id)
        finally:
            case = await self._case(await self._find(report_id))
            await self._notices.update(case)
        return report_card.decided(decision, case, where)

    async def _carry_out(self, case: Case, decision: Decision, where: int, *, by: int) -> None:
        """Do what was decided. Raises `Refusal` if it can't be decided any more."""
        report, policy = case.report, self._policy
        can_be_decided = decision in case.choices(where)
        if decision is Decision.DISMISS and can_be_decided:
            await dismiss(policy, report.id, by=by, where=where)
            return
        if not can_be_decided or not await self._change(case, decision, where, by=by):
            raise Refusal(Reason.DECIDED_MEANWHILE)
        policy.audit.note(
            _NOTED[decision],
            actor_id=by,
            guild_id=report.guild_id,
            voice_id=report.voice_id,
            owner_id=report.accused_id if decision in _ABOUT_PEOPLE else report.owner_id,
            details=f"{report.kind} {report.id}",
        )
        if _upholds(report, decision, where):
            await policy.reports.decide(report.id, ReportState.UPHELD, by=by, where=where)

    async def _change(self, case: Case, decision: Decision, where: int, *, by: int) -> bool:
        """Change what holds for a voice or its owner; return False if that held already."""
        report, moderation = case.report, self._policy.moderation
        if decision is Decision.UNBLOCK:
            return await moderation.unblock(report.accused_id, where)
        if decision is Decision.BLOCK:
            is_new = await moderation.block(report.accused_id, where, by=by, report_id=report.id)
            await self._enforce()
            return is_new
        if report.voice_id is None:
            return False
        if decision is Decision.UNFREEZE:
            if where == EVERYWHERE and await self._policy.reports.is_claimed(report.voice_id):
                raise Refusal(Reason.STILL_CLAIMED)
            return await moderation.lift(report.voice_id, where) is not None
        kind = FreezeKind.REMOVED if decision is Decision.REMOVE else FreezeKind.FROZEN
        is_new = await moderation.freeze(
            report.voice_id, report.owner_id, where, kind, by=by, report_id=report.id
        )
        await self._enforce()  # before it is deleted, so that its owner is told why
        return await self._delete(report.voice_id) if _deletes(decision, case, where) else is_new

    async def _delete(self, voice_id: int) -> bool:
        """Delete a voice; return False if it was deleted before."""
        voice = await self._voice(voice_id)
        if voice is None:
            return False
        try:
            await self._library.delete(voice)
        except Refusal as refusal:
            if refusal.reason is not Reason.NO_SUCH_VOICE:  # its owner may just have deleted it
                raise
            return False
        return True

    async def _check_may_decide(
        self, actor: Actor, report: Report, decision: Decision, where: int
    ) -> None:
        """Raise `Refusal` if a person may not decide something about a report."""
        if where == EVERYWHERE:
            if not self._policy.is_operator(actor.user_id):
                raise Refusal(Reason.ONLY_OPERATORS_DECIDE)
        elif not where == actor.guild_id == report.guild_id:
            raise Refusal(Reason.REPORT_OF_ANOTHER_SERVER)
        elif not actor.is_manager:
            raise Refusal(Reason.ONLY_MANAGERS)
        elif actor.user_id in {report.owner_id, report.accused_id}:
            raise Refusal(Reason.REPORT_ABOUT_YOU)
        is_for_operators = report.kind is ReportKind.CLAIM and decision in {
            Decision.DISMISS,
            Decision.UNFREEZE,
        }
        if is_for_operators and where != EVERYWHERE:
            raise Refusal(Reason.ONLY_OPERATORS_DECIDE)
        if decision is Decision.BLOCK:
            await self._check_may_block(actor, report.accused_id, where)

    async def _check_may_block(self, actor: Actor, person_id: int, where: int) -> None:
        """Raise `Refusal` for those whom nobody can block, or only a server's owner."""
        if self._policy.is_operator(person_id):
            raise Refusal(Reason.CANNOT_BLOCK_OPERATORS)
        if where == EVERYWHERE:
            return
        guild = self._client.get_guild(where)
        if guild is None or guild.unavailable:  # then it isn't known what its roles permit
            raise Refusal(Reason.SERVER_NOT_SEEN)
        if guild.owner_id == actor.user_id:
            return
        try:
            member = await guild.fetch_member(person_id)
        except discord.NotFound:  # who has left manages nothing
            return
        if member.guild_permissions.manage_guild:
            raise Refusal(Reason.CANNOT_BLOCK_MANAGERS)

    async def _send(self, report: Report, reason: str) -> Reached:
        """Show a report to who decides; only to the operators if the server blocks its sender.

        Such a person can't report there, but elsewhere with a link.
        """
        reporter_id, guild_id = report.reporter_id, report.guild_id
        is_blocked = (
            not self._policy.is_operator(reporter_id)
            and await self._policy.moderation.is_blocked(reporter_id, guild_id) is not None
        )
        return await self._notices.send(await self._case(report), reason, to_server=not is_blocked)

    @asynccontextmanager
    async def _filed(
        self, kind: ReportKind, subject: Subject, reporter_id: int
    ) -> AsyncIterator[Report]:
        """File a report that is sent within the block. Raises `Refusal` if it's being sent."""
        report = await self._file(kind, subject, reporter_id)
        if report.id in self._sending:  # a button that was pressed twice
            raise Refusal(Reason.ALREADY_REPORTED)
        self._sending.add(report.id)
        try:
            self._policy.audit.note(
                AuditAction.CLAIMED if kind is ReportKind.CLAIM else AuditAction.REPORTED,
                actor_id=reporter_id,
                guild_id=report.guild_id,
                voice_id=report.voice_id,
                owner_id=report.owner_id,
                details=f"{kind} {report.id}",
            )
            yield report
        finally:
            self._sending.discard(report.id)

    async def _file(self, kind: ReportKind, subject: Subject, reporter_id: int) -> Report:
        """Store a report with what the owner has confirmed for the voice, if that is known."""
        voice = await self._voice(subject.voice_id)
        consent = None if voice is None else voice.consent
        if consent is not None and subject.message_id is not None:
            post = await self._policy.posts.find(subject.message_id)
            if post is not None and post.at < consent.attested_at:
                consent = None  # the voice spoke with another recording then
        return await self._policy.reports.file(
            kind,
            subject,
            reporter_id,
            consent_at=consent.attested_at if consent is not None else None,
            consent_version=consent.statement_version if consent is not None else None,
        )

    async def _find(self, report_id: int) -> Report:
        report = await self._policy.reports.find(report_id)
        if report is None:
            raise Refusal(Reason.REPORT_GONE)
        return report

    async def _voice(self, voice_id: int | None) -> SavedVoice | None:
        """Return a voice; None if it was never saved, or was deleted."""
        if voice_id is None:
            return None
        return (await self._library.about((voice_id,))).get(voice_id)

    async def _case(self, report: Report) -> Case:
        voice_ids = () if report.voice_id is None else (report.voice_id,)
        voice = await self._voice(report.voice_id)
        decisions = await self._policy.moderation.decisions((report.accused_id,), voice_ids)
        if voice is None:
            return Case(report, None, decisions)
        is_replaced = report.consent_at != voice.consent.attested_at
        return Case(report, voice.name, decisions, is_replaced=is_replaced)


def _deletes(decision: Decision, case: Case, where: int) -> bool:
    """Whether a decision deletes a voice with its recording."""
    return decision is Decision.REMOVE and where == EVERYWHERE and case.voice_name is not None


def _upholds(report: Report, decision: Decision, where: int) -> bool:
    """Whether a report doesn't wait any more after a decision that agrees with it.

    A claim waits until the operator says whose voice it is, whatever else is decided.
    """
    if report.kind is ReportKind.CLAIM:
        return decision is Decision.REMOVE and where == EVERYWHERE
    return decision in {Decision.REMOVE, Decision.BLOCK}


def _not_ones_own(subject: Subject, reporter_id: int) -> Subject:
    if subject.said_by == reporter_id:
        raise Refusal(Reason.OWN_SPEECH)
    return subject
