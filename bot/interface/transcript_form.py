"""The form in which a person corrects what is said in a recording."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import discord

from backend.contract import MAX_TRANSCRIPT_CHARACTERS
from bot.errors import Refusal
from bot.interface.errors import answer_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

OPEN_FOR_SECONDS = 900.0


class TranscriptForm(discord.ui.Modal, title="What is said in the recording?"):
    """One field, filled with the transcript as it is known.

    Args:
        known: The transcript so far, or None if nobody knows it.
        on_answer: Awaited with the form's own interaction, not acknowledged yet, and the answer.
    """

    words: discord.ui.Label[Any] = discord.ui.Label(
        text="Transcript",
        description="Every word, exactly as it is spoken, and nothing else",
        component=discord.ui.TextInput(
            style=discord.TextStyle.paragraph, max_length=MAX_TRANSCRIPT_CHARACTERS
        ),
    )

    def __init__(
        self,
        known: str | None,
        *,
        on_answer: Callable[[discord.Interaction[Any], str], Awaitable[None]],
    ) -> None:
        super().__init__(timeout=OPEN_FOR_SECONDS)
        self._on_answer = on_answer
        self._field.default = known

    @property
    def _field(self) -> discord.ui.TextInput[Any]:
        field = self.words.component
        assert isinstance(field, discord.ui.TextInput)  # noqa: S101 - as it is made above
        return field

    async def on_submit(self, interaction: discord.Interaction[Any]) -> None:
        """Pass the answer on."""
        transcript = self._field.value.strip()
        if not transcript:
            raise Refusal("That transcript is empty. Please write what is said in the recording.")
        await self._on_answer(interaction, transcript)

    async def on_error(  # type: ignore[override]  # as in discord.py: a form has no item
        self, interaction: discord.Interaction[Any], error: Exception
    ) -> None:
        """Handle whatever left `on_submit`."""
        await answer_error(interaction, error, command=type(self).__name__)
