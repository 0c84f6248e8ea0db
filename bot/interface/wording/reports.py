"""The sentences about reports and claims, for those who send them and those who decide."""

from __future__ import annotations

from dataclasses import dataclass

from bot.errors import Reason

REFUSALS: dict[Reason, str] = {
    Reason.NOT_MY_SPEECH: (
        "I don't know that message: it isn't speech of mine, I posted it too long ago, or whoever "
        "let me say it had everything about them deleted. Ask a moderator about it instead."
    ),
    Reason.NOT_A_MESSAGE_LINK: (
        "That isn't a link to a message. Open the message's menu, choose Copy Message Link, "
        "and paste it here."
    ),
    Reason.JOIN_FIRST_TO_REPORT: (
        "Join the voice channel where you heard me, or give me the link or the number of a "
        "message of mine."
    ),
    Reason.NOTHING_HEARD: (
        "I haven't said anything in your voice channel lately. "
        "Give me the link or the number of a message of mine instead."
    ),
    Reason.OWN_SPEECH: (
        "You made that yourself, so there's nobody to report. "
        "`/voice delete` deletes a voice of yours."
    ),
    Reason.ALREADY_REPORTED: (
        "You've sent that already, and it's waiting for a decision. There's nothing more to do."
    ),
    Reason.REPORT_DECIDED: (
        "You've sent that before, and it was decided, so I didn't send it again. "
        "If you don't agree, write to whoever runs this bot."
    ),
    Reason.TOO_MANY_REPORTS: (
        "You've sent {limit} reports within a day, the most I pass on. "
        "You can send another <t:{again}:R>. If it can't wait, write to a moderator."
    ),
    Reason.TOO_MANY_CLAIMS: (
        "You've claimed {limit} voices within a day, the most I freeze for one person. "
        "You can claim another <t:{again}:R>. If it can't wait, write to whoever runs this bot."
    ),
    Reason.REPORT_GONE: (
        "I don't keep that report any more. Report the speech again if it still matters."
    ),
    Reason.REPORT_NOT_YOURS: "Somebody else sent that report. Use `/voice claim` yourself instead.",
    Reason.REPORT_OF_ANOTHER_SERVER: (
        "That report is about another server. Decide it in the channel that it was sent to."
    ),
    Reason.REPORT_ABOUT_YOU: (
        "That report is about you, so somebody else has to decide it. "
        "Other members with Manage Server can."
    ),
    Reason.ONLY_OPERATORS_DECIDE: (
        "Only those who run this bot can do that. Please ask one of them."
    ),
    Reason.DECIDED_MEANWHILE: (
        "That was decided already, so I changed nothing. The report shows how things stand now."
    ),
    Reason.STILL_CLAIMED: (
        "Somebody says that this voice is their own, so it stays frozen. "
        "Please decide their claim first; it has a message of its own."
    ),
    Reason.DECIDED_BY_OPERATOR: (
        "Whoever runs this bot has decided that report already, and that stays. "
        "You can still decide about the voice and its owner in this server."
    ),
}


@dataclass(frozen=True, slots=True)
class Reached:
    """Who was sent a report.

    Attributes:
        moderators: Whether the server's report channel was.
        operators: Whether any of the operators' places was.
    """

    moderators: bool
    operators: bool

    @property
    def anybody(self) -> bool:
        """Whether it has reached anybody."""
        return self.moderators or self.operators

    @property
    def whom(self) -> str:
        """Whom it has reached, in words."""
        names = {
            "the server's moderators": self.moderators,
            "whoever runs this bot": self.operators,
        }
        return " and ".join(name for name, is_reached in names.items() if is_reached)


def report_sent(reached: Reached) -> str:
    """What the person is told who has sent a report."""
    if not reached.anybody:
        return (
            "I couldn't pass your report on: there's no place for reports yet, or I can't write "
            "there. Please tell a moderator yourself, with the link to the message. "
            "An admin can choose a channel for reports with `/settings`; then report it again."
        )
    return (
        f"Thank you. I sent your report to {reached.whom}. They may see who sent it; "
        "I don't tell whoever made the speech. They decide what happens next, and you needn't do "
        "anything."
    )


def claim_sent(reached: Reached, claim_id: int, *, is_frozen: bool) -> str:
    """What the person is told who says that a voice is theirs.

    Args:
        reached: Who was told of it.
        claim_id: The claim's number.
        is_frozen: Whether the voice is frozen now. Otherwise there is no such voice any more.
    """
    done = (
        "That voice is frozen now. Nobody can use it anywhere until this is decided."
        if is_frozen
        else "That voice isn't saved, so nobody can use it again, and there's nothing to freeze."
    )
    if not reached.operators:
        told = f"I told {reached.whom}, but" if reached.anybody else "But"
        return (
            f"{done} {told} I couldn't reach whoever runs this bot, who decides about it. "
            f"Please write to them yourself. This is claim {claim_id}."
        )
    return (
        f"{done} I told {reached.whom}. Whoever runs this bot decides, and may write to you to be "
        f"sure that it's your voice. This is claim {claim_id}."
    )
