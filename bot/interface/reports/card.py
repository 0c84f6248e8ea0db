"""How a report is shown to those who decide about it, and what they can decide."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import discord

from bot.guilds.records import EVERYWHERE, FreezeKind, ReportKind, ReportState
from bot.interface.typed_text import voice_name
from bot.interface.wording.consent import confirmed

if TYPE_CHECKING:
    from datetime import datetime

    from bot.guilds.moderation import Decisions
    from bot.guilds.records import Report

MAX_REASON_CHARACTERS = 300

_OPEN, _DECIDED = discord.Colour.from_str("#e0a030"), discord.Colour.from_str("#7a7f8a")
_UNNAMED = "Not shown here, because the owner of the voice may read this."
_DIRECTIONS = re.compile("[\u202a-\u202e\u2066-\u2069]")


class Decision(StrEnum):
    """What can be done about a report. The values are a part of buttons that were sent."""

    FREEZE = "freeze"
    UNFREEZE = "unfreeze"
    REMOVE = "remove"
    BLOCK = "block"
    UNBLOCK = "unblock"
    DISMISS = "dismiss"


@dataclass(frozen=True, slots=True)
class Case:
    """A report, with what is known and decided about its voice and its owner now.

    Attributes:
        report: The report.
        voice_name: As its owner typed it; None if the voice is not saved, or was deleted.
        decisions: About that voice, and who would be blocked.
        is_replaced: Whether the voice has another recording now than when the speech was made.
    """

    report: Report
    voice_name: str | None
    decisions: Decisions
    is_replaced: bool = False

    def is_blocked(self, where: int) -> bool:
        """Whether `Report.accused_id` is blocked by a server's own decision, or the operator's."""
        return any(block.guild_id == where for block in self.decisions.blocks)

    def is_blocked_in(self, where: int) -> bool:
        """Whether that person is blocked there by anybody's decision."""
        return self.is_blocked(EVERYWHERE) or self.is_blocked(where)

    def freeze(self, where: int) -> FreezeKind | None:
        """What keeps the voice from being used, by a server's own decision, or the operator's."""
        kinds = (each.kind for each in self.decisions.freezes if each.guild_id == where)
        return next(kinds, None)

    def choices(self, where: int) -> dict[Decision, str]:
        """What can be decided now, with the words on its button.

        Args:
            where: In this server by its managers, or `EVERYWHERE` by operators.
        """
        report, is_claim = self.report, self.report.kind is ReportKind.CLAIM
        if report.state is ReportState.DISMISSED and report.decided_in == where:
            return {}
        choices: dict[Decision, str] = {}
        is_final = self.freeze(where) is FreezeKind.REMOVED
        # A voice that was removed everywhere is deleted next, unless the bot was killed before.
        if self.voice_name is not None and (not is_final or where == EVERYWHERE):
            # A claim freezes the voice everywhere by itself, until the operator decides.
            if not is_claim and not is_final:
                is_frozen = self.freeze(where) is FreezeKind.FROZEN
                choices |= (
                    {Decision.UNFREEZE: "Unfreeze the voice"}
                    if is_frozen
                    else {Decision.FREEZE: "Freeze the voice"}
                )
            is_theirs = is_claim and where == EVERYWHERE
            choices[Decision.REMOVE] = (
                "It's theirs: delete the voice" if is_theirs else "Remove the voice"
            )
        choices |= (
            {Decision.UNBLOCK: f"Unblock {self._accused}"}
            if self.is_blocked(where)
            else {Decision.BLOCK: f"Block {self._accused}"}
        )
        if self._can_be_dismissed(where):
            is_frozen_claim = is_claim and self.voice_name is not None
            choices[Decision.DISMISS] = (
                "It isn't: unfreeze the voice" if is_frozen_claim else "Dismiss"
            )
        return choices

    @property
    def is_about_asker(self) -> bool:
        """Whether somebody else than the voice's owner would be blocked."""
        return self.report.accused_id != self.report.owner_id

    @property
    def _accused(self) -> str:
        return "who asked for it" if self.is_about_asker else "its owner"

    def _can_be_dismissed(self, where: int) -> bool:
        if where == EVERYWHERE:
            return self.report.decided_in != EVERYWHERE
        return self.report.state is ReportState.OPEN and self.report.kind is ReportKind.REPORT


def card(case: Case, where: int, *, names_reporter: bool) -> discord.Embed:
    """Everything about a report but the words of who sent it.

    Args:
        case: The report.
        where: Where what is decided on this card holds: in a server, or `EVERYWHERE`.
        names_reporter: Whether whoever reads it may know who has sent the report.
    """
    report = case.report
    is_claim = report.kind is ReportKind.CLAIM
    title = f"Claim {report.id}: “That's my voice”" if is_claim else f"Report {report.id}"
    is_open = report.state is ReportState.OPEN
    page = discord.Embed(title=title, colour=_OPEN if is_open else _DECIDED)
    fields = {
        "Speech": _speech(report),
        "Voice": _voice(case),
        "Its owner": _person(report.owner_id),
        **({"Asked for by": _person(report.asker_id)} if report.asker_id is not None else {}),
        "Claimed by" if is_claim else "Reported by": (
            _person(report.reporter_id) if names_reporter else _UNNAMED
        ),
        "The owner's consent": _consent(report),
        "State": "\n".join(_state(case)),
    }
    for name, value in fields.items():
        page.add_field(name=name, value=value, inline=False)
    page.set_footer(text=_scope(report, where))
    return page


def in_their_words(reason: str) -> str:
    """What the reporter wrote, to the letter, without links and previews."""
    cleaned = as_code(reason)
    return f"They write:\n```\n{cleaned}\n```" if cleaned else ""


def as_code(typed: str) -> str:
    """Someone's text as it can stand in a block of code, which shows it to the letter."""
    typed = _DIRECTIONS.sub("", typed).replace("`", "\N{MODIFIER LETTER PRIME}")
    lines = (line.rstrip() for line in typed.splitlines())
    return "\n".join(line for line in lines if line)[:MAX_REASON_CHARACTERS]


def decided(decision: Decision, case: Case, where: int) -> str:
    """What a person is told after deciding a report."""
    everywhere = where == EVERYWHERE
    place = "anywhere" if everywhere else "in this server"
    owner = f"<@{case.report.accused_id}>"
    kept = _still_kept(case, where)
    is_usable = case.voice_name is not None and not kept
    usable = "Its owner can use that voice again." if is_usable else kept
    if decision is Decision.DISMISS:
        return f"Dismissed. {usable}" if case.report.kind is ReportKind.CLAIM else "Dismissed."
    return {
        Decision.FREEZE: f"Frozen. Nobody can use that voice {place} until it's unfrozen.",
        Decision.UNFREEZE: f"Unfrozen. {usable}",
        Decision.REMOVE: (
            "Deleted. That voice and its recording are gone for good."
            if everywhere
            else "Removed. Nobody can use that voice in this server any more. "
            "`/moderation restore` brings it back."
        ),
        Decision.BLOCK: f"Blocked. {owner} can't make or use voices {place} any more.",
        Decision.UNBLOCK: (
            f"Unblocked here. But whoever runs this bot still blocks {owner}."
            if case.is_blocked_in(where)
            else f"Unblocked. {owner} can use me again."
        ),
    }[decision].strip()


def _still_kept(case: Case, where: int) -> str:
    """That the voice still can't be used, if it can't."""
    kinds = {case.freeze(EVERYWHERE), case.freeze(where)}
    if FreezeKind.REMOVED in kinds:
        return "But the voice was removed, and stays so."
    if FreezeKind.FROZEN in kinds:
        return "But something else keeps the voice frozen."
    is_owner_blocked = not case.is_about_asker and case.is_blocked_in(where)
    return "But its owner is blocked." if is_owner_blocked else ""


def _speech(report: Report) -> str:
    if report.message_id is None:
        return f"In the voice channel <#{report.channel_id}>, shortly before {_time(report.at)}"
    said_at = _time(discord.utils.snowflake_time(report.message_id))
    server = report.guild_id if report.guild_id is not None else "@me"
    link = f"https://discord.com/channels/{server}/{report.channel_id}/{report.message_id}"
    return f"[This message]({link}), posted {said_at}"


def _voice(case: Case) -> str:
    report = case.report
    if report.voice_id is None:
        return "Not saved: somebody tried out a recording with `/clone`"
    if case.voice_name is None:
        return f"`#{report.voice_id}`, which is deleted"
    shown = f"`#{report.voice_id}` {voice_name(case.voice_name)}"
    if not case.is_replaced:
        return shown
    return f"{shown}\nIts owner has given it another recording since that speech."


def _person(user_id: int) -> str:
    return f"<@{user_id}> (`{user_id}`)"


def _consent(report: Report) -> str:
    if report.consent_at is not None and report.consent_version is not None:
        return f"They {confirmed(report.consent_version, report.consent_at)}"
    if report.voice_id is None:
        return "`/clone` asked for it. What they chose is in the log, as the voice isn't saved."
    return "There's no record of it any more."


def _state(case: Case) -> list[str]:
    """What was decided, in the server and everywhere."""
    report = case.report
    lines = [_outcome(report)]
    for where in dict.fromkeys((EVERYWHERE, report.guild_id or EVERYWHERE)):
        place = "everywhere" if where == EVERYWHERE else "in the server"
        freeze = case.freeze(where)
        if freeze is not None:
            lines.append(f"The voice is {freeze} {place}.")
        if case.is_blocked(where):
            who = "Who asked for it" if case.is_about_asker else "Its owner"
            lines.append(f"{who} is blocked {place}.")
    return lines


def _outcome(report: Report) -> str:
    if report.state is ReportState.OPEN:
        return "Waits for a decision."
    what = "Dismissed" if report.state is ReportState.DISMISSED else "Acted on"
    who = f"<@{report.decided_by}>" if report.decided_by is not None else "whoever runs this bot"
    place = "everywhere" if report.decided_in == EVERYWHERE else "in the server"
    when = f", {_time(report.decided_at)}" if report.decided_at is not None else ""
    return f"{what} {place} by {who}{when}."


def _scope(report: Report, where: int) -> str:
    if where == EVERYWHERE:
        return "What you decide here holds everywhere. Only those who run this bot can."
    words = "What you decide here holds in this server. It takes the Manage Server permission."
    if report.kind is ReportKind.CLAIM:
        words += " Whose voice it is, whoever runs this bot decides; until then it's frozen."
    return words


def _time(moment: datetime) -> str:
    return discord.utils.format_dt(moment, "f")
