"""Buttons and forms: pages of a list, questions with a yes and a no, and a transcript's form."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

import discord

from backend.contract import MAX_TRANSCRIPT_CHARACTERS
from bot.errors import Reason, Refusal
from bot.interface.delivery.answers import DISCORD_FAILURES, with_links
from bot.interface.delivery.tokens import has_token, note_arrival
from bot.interface.errors import answer_error

Render = Callable[[discord.Interaction[Any], int], Awaitable[tuple[str, int]]]
"""Takes who asks, and a page number from 0; gives the page's text and how many pages there are."""

PAGES_TIMEOUT_SECONDS = 600.0
QUESTION_TIMEOUT_SECONDS = 300.0
FORM_TIMEOUT_SECONDS = 900.0

SECONDS_BEFORE_FORM = 2.0
"""Discord waits three seconds for a form, and a command that opens one can't be acknowledged before
that."""

T = TypeVar("T")


async def before_form(looking_up: Awaitable[T]) -> T:
    """Look up what a form needs. Raises `Refusal` if that takes longer than Discord waits."""
    try:
        async with asyncio.timeout(SECONDS_BEFORE_FORM):
            return await looking_up
    except TimeoutError:
        raise Refusal(Reason.DATABASE_NOT_READ) from None


class TimbreView(discord.ui.View):
    """A view in which every error ends in a log line and a sentence for the person."""

    async def interaction_check(self, interaction: discord.Interaction[Any]) -> bool:
        """Note when somebody pressed a button. Called by discord.py before the button's own."""
        note_arrival(interaction)
        return True

    async def on_error(
        self, interaction: discord.Interaction[Any], error: Exception, _item: discord.ui.Item[Any]
    ) -> None:
        """Handle an exception raised by a button's callback."""
        await answer_error(interaction, error, source=type(self).__name__)


class Pages(TimbreView):
    """A long list, one page at a time. Each page is rendered anew, so it is never out of date."""

    def __init__(self, render: Render) -> None:
        super().__init__(timeout=PAGES_TIMEOUT_SECONDS)
        self._render = render
        self._page = 0
        self._shown_by: discord.Interaction[Any] | None = None

    async def show(self, interaction: discord.Interaction[Any]) -> None:
        """Show the current page in the interaction's (acknowledged) answer."""
        text, count = await self._render(interaction, self._page)
        if self._page >= count > 0:
            self._page = count - 1
            text, count = await self._render(interaction, self._page)
        self.previous.disabled = self._page == 0
        self.following.disabled = self._page >= count - 1
        view = self if count > 1 else None
        await interaction.edit_original_response(content=with_links(interaction, text), view=view)
        self._shown_by = interaction

    async def on_timeout(self) -> None:
        """Remove the buttons, which would fail from now on."""
        if self._shown_by is not None and has_token(self._shown_by):
            with suppress(*DISCORD_FAILURES):
                await self._shown_by.edit_original_response(view=None)

    @discord.ui.button(label="◀ Previous")
    async def previous(
        self, interaction: discord.Interaction[Any], _button: discord.ui.Button[Pages]
    ) -> None:
        """Go one page back."""
        await self._go(interaction, -1)

    @discord.ui.button(label="Next ▶")
    async def following(
        self, interaction: discord.Interaction[Any], _button: discord.ui.Button[Pages]
    ) -> None:
        """Go one page on."""
        await self._go(interaction, 1)

    async def _go(self, interaction: discord.Interaction[Any], by: int) -> None:
        await interaction.response.defer()
        self._page = max(0, self._page + by)
        await self.show(interaction)


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
        super().__init__(timeout=QUESTION_TIMEOUT_SECONDS)
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


def ask_to_delete(what: str, *, follows: str = "", is_own: bool = False) -> Question:
    """The question before something is deleted for good.

    Args:
        what: Completes "Delete ...?".
        follows: What else follows, and what stays: sentences with a space or a line's end behind.
        is_own: Whether whoever is asked can have a copy of it.
    """
    copy = " `/privacy export` first gives you a copy." if is_own else ""
    return Question(
        f"Delete {what}? {follows}This can't be undone.{copy}",
        yes="Delete",
        no="Keep",
        style=discord.ButtonStyle.danger,
    )


def ask_to_replace(voice: str, *, loses_spoken: bool = False) -> Question:
    """The question before a voice gets another recording.

    Args:
        voice: Its name, as it is shown.
        loses_spoken: Whether the recording it has now holds consent that was read aloud, and the
            other one won't.
    """
    lost = (
        " Servers that ask for consent read aloud won't take the voice any more."
        if loses_spoken
        else ""
    )
    return Question(
        f"You already have {voice}. Replace its recording with this one? "
        "Its name, speed and shares stay. "
        f"The recording it has now is deleted for good, with its transcript.{lost}",
        yes="Replace",
        no="Keep",
        style=discord.ButtonStyle.danger,
    )


class TranscriptForm(discord.ui.Modal, title="What's said in the recording?"):
    """The form in which a person corrects a transcript: one field with the transcript in it.

    Args:
        known: The transcript so far, or None if nobody knows it.
        on_answer: Awaited with the form's own interaction, not acknowledged yet, and the answer.
    """

    words: discord.ui.Label[Any] = discord.ui.Label(
        text="Transcript",
        description="Every word exactly as it's spoken, and nothing else",
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
        super().__init__(timeout=FORM_TIMEOUT_SECONDS)
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
            raise Refusal(Reason.TRANSCRIPT_EMPTY)
        await self._on_answer(interaction, transcript)

    async def on_error(  # type: ignore[override]  # as in discord.py: a form has no item
        self, interaction: discord.Interaction[Any], error: Exception
    ) -> None:
        """Handle an exception raised by `on_submit`."""
        await answer_error(interaction, error, source=type(self).__name__)
