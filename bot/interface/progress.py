"""Progress that the person who waits can see, with a button that stops the work."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import discord
import structlog

from bot.errors import Reason, Refusal
from bot.interface import cards
from bot.interface.delivery.answers import DISCORD_FAILURES
from bot.interface.delivery.tokens import has_token, says_token_ended
from bot.interface.views import TimbreView
from bot.interface.wording.sentences import GOES_ON_IN_SILENCE, STEPS

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from datetime import datetime

    from bot.speech.backend import ColdStart
    from bot.studio import Step

log = structlog.get_logger(__name__)
T = TypeVar("T")

SECONDS_BETWEEN_EDITS = 1.5
"""Discord allows about five edits in five seconds; this leaves room for the result."""

LAST_EDIT_SPARE_SECONDS = 30.0
"""So long before the interaction's token ends, the message is updated for the last time."""

SECONDS_BEFORE_FIRST_EDIT = 0.25
"""Until then Discord itself shows that the bot "is thinking", which is enough for short work."""


class Progress(TimbreView):
    """Shows how far some work is in a private message. Changing its words never waits for Discord.

    Args:
        interaction: Whose private message it is.
        cold_start: Tells how far the voice engine's cold start is, or None if there is none.
        stopped: What the person is told if the button has stopped the work.

    Attributes:
        interaction: Whose private message it is; the press of the button, once that was pressed,
            because its token is younger.
        cancelled_for: Why the work was cancelled, or None if it was not.
    """

    def __init__(
        self,
        interaction: discord.Interaction[Any],
        *,
        cold_start: Callable[[], ColdStart | None],
        stopped: Reason,
    ) -> None:
        super().__init__(timeout=None)
        self.interaction = interaction
        self._cold_start = cold_start
        self._stopped = stopped
        self._words = "Getting ready…"
        self._remark: str | None = None
        self._changed = asyncio.Event()
        self._work: asyncio.Task[Any] | None = None
        self._waking_since: datetime | None = None
        self.cancelled_for: Reason | None = None

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run the work to its end, and keep the message up to date meanwhile.

        Raises `Refusal` if it was cancelled, and what the work raises.
        """
        self._work = asyncio.create_task(work)
        updates = asyncio.create_task(self._keep_updated())
        try:
            done: T = await self._work
        except asyncio.CancelledError:
            if self.cancelled_for is None:
                raise
        finally:
            updates.cancel()
            with suppress(asyncio.CancelledError):
                await updates
            self.stop()
        if self.cancelled_for is not None:  # even if it was too late to end the work
            raise Refusal(self.cancelled_for)
        return done

    def cancel(self, reason: Reason) -> None:
        """End the work, and remember why."""
        self.cancelled_for = reason
        if self._work is not None:
            self._work.cancel()

    def say(self, words: str) -> None:
        """Show these words."""
        self._words = words
        self._changed.set()

    def remark(self, words: str | None) -> None:
        """Show these words below the others, until there are others or none."""
        if words != self._remark:
            self._remark = words
            self._changed.set()

    def step(self, step: Step) -> None:
        """Show which step of making a voice has begun."""
        self.say(f"{STEPS[step]}…")

    def sentence(self, number: int, total: int) -> None:
        """Show which sentence, counted from 1, is spoken."""
        self.say(cards.speaking(number, total))

    @discord.ui.button(label="Stop", style=discord.ButtonStyle.secondary)
    async def stop_button(
        self, interaction: discord.Interaction[Any], _button: discord.ui.Button[Progress]
    ) -> None:
        """Stop at once: the model's work as well as the waiting."""
        await interaction.response.defer()
        self.interaction = interaction
        self.cancel(self._stopped)

    def _all_words(self) -> str:
        words = self._words if self._remark is None else f"{self._words}\n{self._remark}"
        cold_start = self._cold_start()
        if cold_start is None:
            self._waking_since = None
            return words
        if self._waking_since is None:
            self._waking_since = discord.utils.utcnow() - timedelta(seconds=cold_start.seconds)
        since = discord.utils.format_dt(self._waking_since, "R")  # the client keeps it up to date
        return (
            f"{words}\n-# The voice engine began to wake up {since}. "
            f"That usually takes about {cold_start.usual_seconds:.0f} s."
        )

    async def _keep_updated(self) -> None:
        await asyncio.sleep(SECONDS_BEFORE_FIRST_EDIT)
        shown = None
        while has_token(self.interaction, spare=LAST_EDIT_SPARE_SECONDS):
            self._changed.clear()
            words = self._all_words()
            if words != shown:
                await self._show(words)
                shown = words
                await asyncio.sleep(SECONDS_BETWEEN_EDITS)
            else:
                with suppress(TimeoutError):
                    async with asyncio.timeout(SECONDS_BETWEEN_EDITS):
                        await self._changed.wait()
        if has_token(self.interaction):
            await self._show(f"{self._words}\n{GOES_ON_IN_SILENCE}")

    async def _show(self, words: str) -> None:
        try:
            await self.interaction.edit_original_response(content=words, view=self)
        except DISCORD_FAILURES as error:
            says_token_ended(self.interaction, error)
            log.debug("progress not shown", reason=repr(error))
