"""The answer to one command: private progress for who asked, then the result for the channel.

A command's first answer is private, so that a refusal is seen by nobody else and leaves nothing in
the channel. The result goes out as a second, public message.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Self, TypeVar

import structlog

from backend.contract import LanguageNotSupportedError, SpeechError, TextNotSpeakableError
from bot.errors import Refusal, explain
from bot.interface import delivery
from bot.interface import errors as last_resort
from bot.interface.progress import Progress, ProgressView

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType
    from typing import Any

    import discord

    from bot.client import VoiceBot
    from bot.interface.attachments import SpeechAttachment
    from bot.interface.questions import Question

log = structlog.get_logger(__name__)
T = TypeVar("T")

MAX_AT_WORK_PER_PERSON = 3

STOPPED = "Stopped, as you asked. Nothing was posted."


class HaltedError(Refusal):
    """The work was stopped before it was done: by the person's button, or because the bot stops."""


class Reply:
    """Answers one interaction, from acknowledgement to result.

    Used as a context manager: entering acknowledges within Discord's three seconds, and whatever
    error leaves the block becomes a sentence, shown privately.

    Attributes:
        remarks: Sentences for the person alone that hold even if the rest fails, such as that a
            voice is saved already.
    """

    def __init__(self, interaction: discord.Interaction[VoiceBot]) -> None:
        self._interaction = interaction
        self._command = interaction.command.qualified_name if interaction.command else None
        self._has_place = False
        self._working: ProgressView | None = None
        self._asking: Question | None = None
        self._halted_for: str | None = None
        self._ended = asyncio.Event()
        self.remarks: list[str] = []

    async def __aenter__(self) -> Self:
        """Acknowledge the command, privately."""
        await self._interaction.response.defer(ephemeral=True, thinking=True)
        self._interaction.client.open_replies.add(self)
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> bool:
        """Put an error into words for the person. Only a cancellation goes on."""
        try:
            if not isinstance(error, Exception):
                return False
            await self.show(" ".join([self._explain(error), *self.remarks]))
            return True
        finally:
            self._interaction.client.open_replies.discard(self)
            self._ended.set()

    def claim_place(self) -> None:
        """Begin a command that takes long. Raises `Refusal` if the person has several already."""
        replies = self._interaction.client.open_replies
        places = sum(reply.has_place_of(self._interaction.user) for reply in replies)
        if places >= MAX_AT_WORK_PER_PERSON:
            raise Refusal(
                f"I am working on {places} commands of yours already. "
                "Wait for one of them, or stop it, then try again."
            )
        self._has_place = True

    def has_place_of(self, person: discord.abc.User) -> bool:
        """Whether this is a command of that person's that takes long."""
        return self._has_place and self._interaction.user == person

    async def halt(self, reason: str) -> None:
        """End the command, tell the person why, and return when they know.

        What is being sent already is still sent.
        """
        self._halted_for = reason
        if self._working is not None:
            self._working.halt(reason)
        if self._asking is not None:
            self._asking.stop()
        await self._ended.wait()

    async def show(self, content: str | None = None, *, embed: discord.Embed | None = None) -> None:
        """Put the last private words in place of whatever is shown now."""
        await delivery.show_privately(self._interaction, content, embed=embed)

    async def ask(self, question: Question) -> bool:
        """Ask something privately; return whether the person said yes.

        The answer is an interaction of its own. The rest of the command goes on with that one,
        because its token is younger and lasts longer.
        """
        self._asking = question
        await self._interaction.edit_original_response(content=question.text, view=question)
        await question.wait()
        self._asking = None
        self._check_not_halted()
        if question.answered_by is not None:
            self._interaction = question.answered_by
        return question.answer

    async def work(
        self, job: Callable[[Progress], Coroutine[Any, Any, T]], *, stopped: str = STOPPED
    ) -> T:
        """Run a long part of the command, with its progress and a button that stops it.

        `stopped` is what the person is told once the button has ended it; `HaltedError` is raised
        then.
        """
        self._check_not_halted()
        progress = Progress(self._interaction, waking=self._interaction.client.studio.waking)
        task = asyncio.create_task(job(progress))
        self._working = view = ProgressView(cancel=task.cancel, stopped=stopped)
        try:
            async with progress.shown_with(view):
                done = await task
        except asyncio.CancelledError:
            if view.reason is None:
                raise
            raise HaltedError(view.reason) from None
        finally:
            self._working = None
        if view.reason is not None:  # the button was pressed when there was nothing left to stop
            raise HaltedError(view.reason)
        return done

    async def post(self, content: str, speech: SpeechAttachment) -> None:
        """Post speech where all can see it; see `delivery.post_speech`."""
        await delivery.post_speech(self._interaction, content, speech)

    async def finish(self) -> None:
        """Show the remarks; without any, take the private message away."""
        if self.remarks:
            await self.show(" ".join(self.remarks))
        else:
            await delivery.take_away(self._interaction)

    def _check_not_halted(self) -> None:
        if self._halted_for is not None:
            raise HaltedError(self._halted_for)

    def _explain(self, error: Exception) -> str:
        if not isinstance(error, Refusal | SpeechError):
            return last_resort.report(error, command=self._command)
        if isinstance(error, SpeechError):
            # What caused it, if anything did, is a defect of the backend's that has to be found.
            asked_for = isinstance(error, LanguageNotSupportedError | TextNotSpeakableError)
            log.log(
                logging.INFO if asked_for else logging.WARNING,
                "speech failed",
                kind=type(error).__name__,
                reason=str(error),
                exc_info=error if error.__cause__ else None,
            )
        return explain(error)
