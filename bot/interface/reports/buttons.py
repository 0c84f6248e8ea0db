"""The buttons below a report, which work after a restart too, and the form for its reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import discord

from bot.guilds.access import Action
from bot.guilds.records import EVERYWHERE
from bot.interface.errors import answer_error
from bot.interface.lasting_button import LastingButton
from bot.interface.reports.card import MAX_REASON_CHARACTERS, Decision
from bot.interface.views import FORM_TIMEOUT_SECONDS

if TYPE_CHECKING:
    import re
    from collections.abc import Awaitable, Callable

    from bot.interface.reports.card import Case

_STYLES = {
    Decision.REMOVE: discord.ButtonStyle.danger,
    Decision.BLOCK: discord.ButtonStyle.danger,
    Decision.FREEZE: discord.ButtonStyle.primary,
}


class DecisionButton(
    LastingButton,
    template=r"report:(?P<report>\d{1,9}):(?P<decision>[a-z]+):(?P<where>\d{1,20})",
):
    """Decides something about a report.

    Args:
        report_id: The report.
        decision: What to decide.
        where: In this server, or `EVERYWHERE`.
        label: The words on it.
    """

    def __init__(self, report_id: int, decision: Decision, where: int, label: str = "…") -> None:
        style = _STYLES.get(decision, discord.ButtonStyle.secondary)
        custom_id = f"report:{report_id}:{decision}:{where}"
        super().__init__(discord.ui.Button(label=label, style=style, custom_id=custom_id))
        self._decided = (report_id, decision, where)

    @classmethod
    def from_match(cls, match: re.Match[str]) -> Self:
        """As `LastingButton.from_match`."""
        return cls(int(match["report"]), Decision(match["decision"]), int(match["where"]))

    async def press(self, interaction: discord.Interaction[Any]) -> None:
        """Decide, if the person may, and say privately what came of it."""
        report_id, decision, where = self._decided
        action = Action.REPORT if where == EVERYWHERE else Action.MANAGE
        async with interaction.client.reply(interaction, action) as reply:
            words = await interaction.client.reporting.decide(reply, report_id, decision, where)
            await reply.show(words)


class ClaimButton(LastingButton, template=r"claim:(?P<report>\d{1,9})"):
    """Claims the voice that the person has just reported."""

    def __init__(self, report_id: int) -> None:
        super().__init__(
            discord.ui.Button(
                label="That's my voice",
                style=discord.ButtonStyle.secondary,
                custom_id=f"claim:{report_id}",
            )
        )
        self._report_id = report_id

    @classmethod
    def from_match(cls, match: re.Match[str]) -> Self:
        """As `LastingButton.from_match`."""
        return cls(int(match["report"]))

    async def press(self, interaction: discord.Interaction[Any]) -> None:
        """Freeze the voice and report the claim, and say privately what came of it."""
        async with interaction.client.reply(interaction, Action.REPORT) as reply:
            reporting = interaction.client.reporting
            subject = await reporting.reported_by(interaction.user.id, self._report_id)
            await reply.show(await reporting.claim(subject, interaction.user.id))


BUTTONS = (DecisionButton, ClaimButton)
"""What the bot has to know at its start, to answer the buttons that it sent before."""


def decision_buttons(case: Case, where: int) -> discord.ui.View | None:
    """The buttons for what can be decided about a report now; None if that is nothing."""
    choices = case.choices(where)
    if not choices:
        return None
    view = discord.ui.View(timeout=None)
    for decision, label in choices.items():
        view.add_item(DecisionButton(case.report.id, decision, where, label))
    return view


def claim_button(report_id: int) -> discord.ui.View:
    """The button for somebody who has just reported a voice, and says that it is theirs."""
    view = discord.ui.View(timeout=None)
    view.add_item(ClaimButton(report_id))
    return view


class ReasonForm(discord.ui.Modal, title="Report this speech"):
    """Asks what is wrong with the speech that is reported; that may be left empty.

    Args:
        on_answer: Awaited with the form's own interaction, not acknowledged yet, and the answer.
    """

    words: discord.ui.Label[Any] = discord.ui.Label(
        text="What's wrong with it?",
        description="Only those who decide see this. You may leave it empty.",
        component=discord.ui.TextInput(
            style=discord.TextStyle.paragraph, required=False, max_length=MAX_REASON_CHARACTERS
        ),
    )

    def __init__(
        self, *, on_answer: Callable[[discord.Interaction[Any], str], Awaitable[None]]
    ) -> None:
        super().__init__(timeout=FORM_TIMEOUT_SECONDS)
        self._on_answer = on_answer

    async def on_submit(self, interaction: discord.Interaction[Any]) -> None:
        """Pass the answer on."""
        field = self.words.component
        assert isinstance(field, discord.ui.TextInput)  # noqa: S101 - as it is made above
        await self._on_answer(interaction, field.value)

    async def on_error(  # type: ignore[override]  # as in discord.py: a form has no item
        self, interaction: discord.Interaction[Any], error: Exception
    ) -> None:
        """Handle an exception raised by `on_submit`."""
        await answer_error(interaction, error, source=type(self).__name__)
