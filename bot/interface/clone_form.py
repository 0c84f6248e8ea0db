"""The form of "Clone this voice": what `/clone` has options for, about a recording in a message."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import discord

from backend.contract import MAX_TRANSCRIPT_CHARACTERS
from bot.interface.errors import answer_error
from bot.interface.options import PERMISSION_CHOICES
from bot.interface.views import FORM_TIMEOUT_SECONDS
from bot.voices.consent import Permission
from bot.voices.names import MAX_NAME_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

MAX_FIELD_CHARACTERS = 4_000
"""Discord takes no more in one field of a form."""

MAX_LABEL_CHARACTERS = 100


@dataclass(frozen=True, slots=True)
class CloneAnswers:
    """What a person answered in the form.

    Attributes:
        recording: Which of the message's recordings.
        permission: Why they may clone its voice.
        name: What to save the voice as, or None.
        text: What it is to say, or None.
        transcript: What is said in the recording, or None.
    """

    recording: discord.Attachment
    permission: Permission
    name: str | None
    text: str | None = field(repr=False)
    transcript: str | None = field(repr=False)


class CloneForm(discord.ui.Modal, title="Clone this voice"):
    """Asks whose voice a recording is, and what to do with it.

    Args:
        recordings: Those of the message; the form asks which one if there are several.
        on_answer: Awaited with the form's own interaction, not acknowledged yet, and the answers.
    """

    def __init__(
        self,
        recordings: Sequence[discord.Attachment],
        *,
        on_answer: Callable[[discord.Interaction[Any], CloneAnswers], Awaitable[None]],
    ) -> None:
        super().__init__(timeout=FORM_TIMEOUT_SECONDS)
        self._recordings = recordings
        self._on_answer = on_answer
        self._recording = _choice(
            (f"{number}. {recording.filename}", str(number))
            for number, recording in enumerate(recordings, start=1)
        )
        self._permission = _choice((each.name, str(each.value)) for each in PERMISSION_CHOICES)
        self._name = _words(max_length=MAX_NAME_CHARACTERS)
        self._text = _words(max_length=MAX_FIELD_CHARACTERS, is_long=True)
        self._transcript = _words(max_length=MAX_TRANSCRIPT_CHARACTERS, is_long=True)
        if len(recordings) > 1:
            self._ask("Which recording?", self._recording)
        self._ask(
            "Whose voice is it?",
            self._permission,
            "By choosing, you also promise not to deceive or harm anyone with it.",
        )
        self._ask(
            "Name",
            self._name,
            "I keep the voice under this name. Leave it empty to only try the voice.",
        )
        self._ask("What should it say?", self._text, "Leave it empty, and it says hello.")
        self._ask(
            "What's said in the recording?",
            self._transcript,
            "Exactly, if you know it; it helps. You may leave it empty.",
        )

    def _ask(self, text: str, component: discord.ui.Item[Any], description: str = "") -> None:
        self.add_item(
            discord.ui.Label(text=text, description=description or None, component=component)
        )

    async def on_submit(self, interaction: discord.Interaction[Any]) -> None:
        """Pass the answers on."""
        chosen = int(self._recording.values[0]) if self._recording.values else 1
        answers = CloneAnswers(
            recording=self._recordings[chosen - 1],
            permission=Permission(self._permission.values[0]),
            name=self._name.value.strip() or None,
            text=self._text.value.strip() or None,
            transcript=self._transcript.value.strip() or None,
        )
        await self._on_answer(interaction, answers)

    async def on_error(  # type: ignore[override]  # as in discord.py: a form has no item
        self, interaction: discord.Interaction[Any], error: Exception
    ) -> None:
        """Handle an exception raised by `on_submit`."""
        await answer_error(interaction, error, source=type(self).__name__)


def _choice(options: Iterable[tuple[str, str]]) -> discord.ui.Select[Any]:
    """A field with one of several labels and values to choose."""
    return discord.ui.Select(
        options=[
            discord.SelectOption(label=label[:MAX_LABEL_CHARACTERS], value=value)
            for label, value in options
        ]
    )


def _words(*, max_length: int, is_long: bool = False) -> discord.ui.TextInput[Any]:
    """A field to type into, which may be left empty."""
    style = discord.TextStyle.paragraph if is_long else discord.TextStyle.short
    return discord.ui.TextInput(style=style, required=False, max_length=max_length)
