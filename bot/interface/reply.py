"""The answer to one command: private progress for who asked, then the result for the channel.

A command's first answer is private, so that a refusal is seen by nobody else and leaves nothing in
the channel. The result goes out as a second, public message.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self, TypeVar

import structlog

from bot.errors import Reason, Refusal
from bot.guilds.access import Action
from bot.interface.actors import actor_of
from bot.interface.delivery import answers as delivery
from bot.interface.delivery.attachment import SpeechAttachment
from bot.interface.delivery.posting import post_speech
from bot.interface.delivery.tokens import note_arrival
from bot.interface.errors import command_name, log_and_explain
from bot.interface.progress import Progress
from bot.interface.wording.limits import recording_counts
from bot.interface.wording.sentences import explain, note

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from types import TracebackType

    import discord

    from bot.guilds.access import Actor
    from bot.guilds.ledger import Work
    from bot.guilds.records import WorkKind
    from bot.interface.attribution import PublicWords
    from bot.interface.delivery.attachment import ReplyFormat
    from bot.interface.delivery.posting import OnPosted
    from bot.interface.views import Question
    from bot.speech.backend import ColdStart
    from bot.streaming import Speech

log = structlog.get_logger(__name__)
T = TypeVar("T")


class Replies:
    """The commands that are being answered now, and what their answers share.

    Args:
        max_encoders: How many replies are encoded at once.
        cold_start: Tells how far the voice engine's cold start is, or None if there is none.
        check: Raises `Refusal` if a person may not do something.
        begin: Begins something that takes long, see `Policy.begin`.

    Attributes:
        open: The replies to commands that have not ended.
        encoders: Bounds how many replies are encoded at once.
        closed_for: Why commands are not answered any more, or None while they are.
    """

    def __init__(
        self,
        *,
        max_encoders: int,
        cold_start: Callable[[], ColdStart | None],
        check: Callable[[Actor, Action], Awaitable[None]],
        begin: Callable[[Actor, WorkKind, float], Awaitable[Work]],
    ) -> None:
        self.open: set[Reply] = set()
        self.encoders = asyncio.Semaphore(max_encoders)
        self.cold_start = cold_start
        self.check = check
        self.begin = begin
        self.closed_for: Reason | None = None

    async def close(self, reason: Reason, *, within: float) -> None:
        """End all commands and refuse new ones; return when people have been told why.

        Args:
            reason: Why.
            within: The seconds after which people are told whose commands have not ended by then.
        """
        self.closed_for = reason
        endings = [asyncio.create_task(reply.cancel(reason)) for reply in self.open]
        if not endings:
            return
        await asyncio.wait(endings, timeout=within)
        late = list(self.open)
        if late:
            log.warning("commands were cut off", commands=len(late))
        await asyncio.gather(*(reply.show(explain(Refusal(reason))) for reply in late))
        for ending in endings:
            ending.cancel()


class Reply:
    """Answers one interaction, from acknowledgement to result.

    Used as a context manager: entering acknowledges within Discord's three seconds, and whatever
    error leaves the block becomes a sentence, shown privately.

    Args:
        interaction: The command.
        replies: What the answers of all commands share.
        action: What the person wants to do. It is checked once the command is acknowledged.
        in_place: Whether the answer takes the place of the message whose button was pressed.

    Attributes:
        action: What the person wants to do.
        voice_id: The saved voice that speaks, as `SavedVoice.id`; None while that isn't known.
        actor: Who used the command, and where.
        owner: The same person, as Discord knows them.
        remarks: Sentences for the person alone that hold even if the rest fails, such as that a
            voice is saved already.
        view: The buttons that belong to the remarks, if there are any.
    """

    def __init__(
        self,
        interaction: discord.Interaction[Any],
        replies: Replies,
        action: Action = Action.OTHER,
        *,
        in_place: bool = False,
    ) -> None:
        self._interaction = interaction
        self.action = action
        self.voice_id: int | None = None
        self._in_place = in_place
        self._replies = replies
        self._command = command_name(interaction)
        self._working: Progress | None = None
        self._asking: Question | None = None
        self._cancelled_for: Reason | None = None
        self._is_forbidden = False
        self._ended = asyncio.Event()
        self.actor = actor_of(interaction)
        self.owner = interaction.user
        self._begun: Work | None = None
        self.remarks: list[str] = []
        self.view: discord.ui.View | None = None

    async def __aenter__(self) -> Self:
        """Acknowledge the command, privately. Raises `Refusal` if the person may not do that."""
        note_arrival(self._interaction)
        is_new = not self._in_place
        await self._interaction.response.defer(ephemeral=is_new, thinking=is_new)
        self._replies.open.add(self)
        try:
            await self._check_allowed()
        except BaseException:
            self._end()
            raise
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> bool:
        """Put an error into words for the person. Only the cancellation of the task goes on."""
        try:
            if not isinstance(error, Exception):
                return False
            sentence = log_and_explain(error, source=self._command)
            if self._cancelled_for is Reason.ALL_DELETED_MEANWHILE:  # so they don't hold any more
                self.remarks, self.view = [], None
            await self.show(" ".join([sentence, *self.remarks]), view=self.view)
            return True
        finally:
            self._end()

    async def _check_allowed(self) -> None:
        if self._replies.closed_for is None:  # else the database may be closed
            await self._replies.check(self.actor, self.action)
        if self._replies.closed_for is not None:  # commands are refused before, but forms are not
            raise Refusal(self._replies.closed_for)

    def _end(self) -> None:
        if self._begun is not None:
            self._begun.end()
        self._replies.open.discard(self)
        self._ended.set()

    async def begin(self, kind: WorkKind, seconds: float, *, recording: float = 0.0) -> Work:
        """Begin what takes long, before anything large is loaded; it ends with the command.

        Args:
            kind: What it is.
            seconds: How much speech it will probably need.
            recording: How much of that a recording is, at most.

        Raises `Refusal` if that exceeds a limit.
        """
        try:
            self._begun = await self._replies.begin(self.actor, kind, seconds)
        except Refusal as refusal:
            if recording and "wanted" in refusal.values:  # people think of their text alone
                self.remarks.append(recording_counts(recording))
            raise
        return self._begun

    async def cancel(self, reason: Reason, *, is_forbidden: bool = False) -> None:
        """End the command, tell the person why, and return when they know.

        What is made already is still sent, unless that is forbidden now.
        """
        self._cancelled_for, self._is_forbidden = reason, is_forbidden
        if self._working is not None:
            self._working.cancel(reason)
        if self._asking is not None:
            self._asking.stop()
        await self._ended.wait()

    @property
    def max_file_bytes(self) -> int:
        """How large a file may be that is sent here."""
        return self._interaction.filesize_limit

    async def show(
        self,
        content: str | None = None,
        *,
        embed: discord.Embed | None = None,
        view: discord.ui.View | None = None,
    ) -> None:
        """Replace the private message by the last words, with buttons below them if any."""
        await delivery.show_privately(self._interaction, content, embed=embed, view=view)

    async def ask(self, question: Question) -> bool:
        """Ask something privately; return whether the person said yes.

        The answer is an interaction of its own. The rest of the command goes on with that one,
        because its token is younger and lasts longer. Raises `Refusal` if the person may not do
        any more what they said yes to.
        """
        self._asking = question
        words = delivery.with_links(self._interaction, question.text)
        await self._interaction.edit_original_response(content=words, view=question)
        await question.wait()
        self._asking = None
        self._check_not_cancelled()
        if question.answered_by is not None:
            self._interaction = question.answered_by
            self.actor = actor_of(question.answered_by)
        if question.answer:
            await self._check_allowed()
        return question.answer

    async def work(
        self, job: Callable[[Progress], Coroutine[Any, Any, T]], *, stopped: Reason = Reason.STOPPED
    ) -> T:
        """Run a long part of the command, with its progress and a button that stops it.

        Raises `Refusal` if it is cancelled: with `stopped` by the button.
        """
        self._check_not_cancelled()
        self._working = progress = Progress(
            self._interaction, cold_start=self._replies.cold_start, stopped=stopped
        )
        try:
            return await progress.run(job(progress))
        finally:
            self._interaction = progress.interaction
            self._working = None

    async def post(
        self,
        words: PublicWords,
        speech: Speech,
        reply_format: ReplyFormat,
        *,
        view: discord.ui.View | None = None,
        on_posted: OnPosted,
    ) -> None:
        """Post speech where all can see it, with buttons below it if any, see `post_speech`.

        Raises `Refusal` if it may be posted nowhere.
        """
        attachment = SpeechAttachment(
            speech, reply_format, self._replies.encoders, self._check_not_forbidden
        )
        await post_speech(self._interaction, words, attachment, view=view, on_posted=on_posted)

    async def send_privately(
        self, name: str, data: bytes, *, not_sent: Reason = Reason.EXPORT_NOT_SENT
    ) -> None:
        """Send a file that only the person sees. Raises `Refusal` if Discord doesn't take it.

        Args:
            name: The file's name.
            data: The file's bytes.
            not_sent: The reason of that refusal.
        """
        await delivery.send_privately(self._interaction, name, data, not_sent=not_sent)

    async def finish(self, words: str | None = None) -> None:
        """Show the last words and the remarks; without any, delete the private message.

        If little of the day's speech is left, the person is told that too, once a day.
        """
        little_left = await self._begun.little_left() if self._begun is not None else None
        if little_left is not None:
            self.remarks.append(note(little_left))
        if words is not None:
            await self.show("\n".join([words, *self.remarks]), view=self.view)
        elif self.remarks:
            await self.show(" ".join(self.remarks), view=self.view)
        else:
            await delivery.delete_private_message(self._interaction)

    def _check_not_forbidden(self) -> None:
        if self._is_forbidden:
            self._check_not_cancelled()

    def _check_not_cancelled(self) -> None:
        if self._cancelled_for is not None:
            raise Refusal(self._cancelled_for)
