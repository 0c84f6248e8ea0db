"""Questions with a yes and a no, asked privately before something that matters."""

from __future__ import annotations

from typing import Any

import discord

from bot.interface.errors import TimbreView
from bot.voices.consent import CONSENT_STATEMENT

ANSWER_WITHIN_SECONDS = 300.0


class Question(TimbreView):
    """One question with two buttons. No answer within five minutes counts as no.

    Attributes:
        text: The question.
        answer: Whether the person said yes.
        answered_by: The interaction of the button press, already acknowledged; None without one.
    """

    def __init__(
        self,
        text: str,
        *,
        yes: str,
        no: str = "Cancel",
        style: discord.ButtonStyle = discord.ButtonStyle.primary,
    ) -> None:
        super().__init__(timeout=ANSWER_WITHIN_SECONDS)
        self.text = text
        self.answer = False
        self.answered_by: discord.Interaction[Any] | None = None
        self._add_button(yes, style, answer=True)
        self._add_button(no, discord.ButtonStyle.secondary, answer=False)

    def _add_button(self, label: str, style: discord.ButtonStyle, *, answer: bool) -> None:
        button: discord.ui.Button[Question] = discord.ui.Button(label=label, style=style)

        async def pressed(interaction: discord.Interaction[Any]) -> None:
            await interaction.response.defer()
            self.answer = answer
            self.answered_by = interaction
            self.stop()

        button.callback = pressed  # type: ignore[method-assign]
        self.add_item(button)


def ask_for_consent() -> Question:
    """The question before a person's first clone."""
    return Question(
        "**Before your first voice**\n"
        "Cloning a voice needs the speaker's permission. Please confirm:\n"
        f"> {CONSENT_STATEMENT}\n\n"
        "I keep your answer with your Discord id, the server and the time. "
        "`/help` says what else I keep.",
        yes="I confirm",
        style=discord.ButtonStyle.success,
    )


def ask_to_delete(what: str) -> Question:
    """The question before something is deleted for good. `what` completes "Delete ...?"."""
    return Question(
        f"Delete {what}? This cannot be undone.",
        yes="Delete",
        no="Keep",
        style=discord.ButtonStyle.danger,
    )
