"""Progress that the person who waits can see, and a button that stops the work."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import discord
import structlog

from bot.interface import wording
from bot.interface.errors import DISCORD_FAILURES, TimbreView

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from bot.speech.backend import Waking

log = structlog.get_logger(__name__)

SECONDS_BETWEEN_EDITS = 1.5
"""Discord allows about five edits in five seconds; this leaves room for the result."""

SECONDS_BEFORE_FIRST_EDIT = 0.25
"""Until then Discord's own "is thinking" does; work that is done by then needs no more."""


class Progress:
    """The words that describe what is being done now. Setting them never waits for Discord.

    Args:
        interaction: Whose private message shows them.
        waking: Tells whether the voice engine is being woken up.
    """

    def __init__(
        self, interaction: discord.Interaction[Any], *, waking: Callable[[], Waking | None]
    ) -> None:
        self._interaction = interaction
        self._waking = waking
        self._words = "Getting ready…"
        self._changed = asyncio.Event()

    def step(self, doing: str) -> None:
        """Say what is being done: a few words without a full stop."""
        self.say(f"{doing}…")

    def sentence(self, number: int, total: int) -> None:
        """Say which sentence, counted from 1, is being spoken."""
        self.say(wording.speaking(number, total))

    @asynccontextmanager
    async def shown_with(self, view: ProgressView) -> AsyncIterator[None]:
        """Keep the private message up to date while the block runs."""
        updates = asyncio.create_task(self._keep_updated(view))
        try:
            yield
        finally:
            updates.cancel()
            with suppress(asyncio.CancelledError):
                await updates
            view.stop()

    def say(self, words: str) -> None:
        """Show these words."""
        self._words = words
        self._changed.set()

    def _all_words(self) -> str:
        waking = self._waking()
        if waking is None:
            return self._words
        usual = round(waking.usual_seconds)
        return (
            f"{self._words}\n-# Waking the voice engine, usually about {usual} s: "
            f"{waking.seconds:.0f} s so far"
        )

    async def _keep_updated(self, view: ProgressView) -> None:
        await asyncio.sleep(SECONDS_BEFORE_FIRST_EDIT)
        shown = None
        while True:
            self._changed.clear()
            words = self._all_words()
            if words != shown:
                await self._show(words, view)
                shown = words
                await asyncio.sleep(SECONDS_BETWEEN_EDITS)
            else:
                with suppress(TimeoutError):
                    async with asyncio.timeout(SECONDS_BETWEEN_EDITS):
                        await self._changed.wait()

    async def _show(self, words: str, view: ProgressView) -> None:
        try:
            await self._interaction.edit_original_response(content=words, view=view)
        except DISCORD_FAILURES as error:
            log.debug("progress not shown", reason=repr(error))


class ProgressView(TimbreView):
    """The button under a progress message.

    Args:
        cancel: Ends the work.
        stopped: What the person is told once the button has ended it.

    Attributes:
        reason: Why the work was halted, in a sentence for the person, or None while it goes on.
    """

    def __init__(self, *, cancel: Callable[[], object], stopped: str) -> None:
        super().__init__(timeout=None)
        self._cancel = cancel
        self._stopped = stopped
        self.reason: str | None = None

    def halt(self, reason: str) -> None:
        """End the work, and remember why."""
        self.reason = reason
        self._cancel()

    @discord.ui.button(label="Stop", style=discord.ButtonStyle.secondary)
    async def stop_button(
        self, interaction: discord.Interaction[Any], _button: discord.ui.Button[ProgressView]
    ) -> None:
        """Stop at once: the model's work as well as the waiting."""
        await interaction.response.defer()
        self.halt(self._stopped)
