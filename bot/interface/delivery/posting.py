"""Posting speech, even if the token has ended or the upload limit was too high."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import discord
import structlog

from bot.audio.encode import AudioFormat
from bot.errors import Reason, Refusal
from bot.interface.delivery import voice_message
from bot.interface.delivery.answers import (
    DISCORD_FAILURES,
    SECONDS_TO_NEXT_TRY,
    may_post,
    mention_of,
)
from bot.interface.delivery.attachment import ReplyFormat, SpeechAttachment
from bot.interface.delivery.tokens import has_token, says_token_ended

if TYPE_CHECKING:
    from bot.audio.encode import SpeechFile
    from bot.interface.attribution import PublicWords

log = structlog.get_logger(__name__)

Interaction = discord.Interaction[Any]

Sender = tuple[discord.AllowedMentions, Callable[..., Awaitable[discord.Message | None]]]
"""A way to send a message: whom its first one pings, and discord.py's method."""

OnPosted = Callable[[int, int, int | None], object]
"""Told of each message that was posted: its id, its channel's, and its server's or None."""

# https://discord.com/developers/docs/topics/opcodes-and-status-codes#json
REQUEST_TOO_LARGE = 40005

SAFE_UPLOAD_LIMIT = 8 * 1024 * 1024
"""Accepted everywhere on Discord; used if a server accepts less than the interaction said."""

SAFE_TOTAL_LIMIT = 24 * 1024 * 1024
"""The most that the files of one message have together; a request may hold 25 MiB."""

MAX_FILES_PER_MESSAGE = 10


async def post_speech(
    interaction: Interaction,
    words: PublicWords,
    speech: SpeechAttachment,
    *,
    view: discord.ui.View | None = None,
    on_posted: OnPosted,
) -> None:
    """Post speech in the interaction's channel, in as many messages as its upload limit asks for.

    A voice message holds no words, so they follow in a second message. Where Discord takes no voice
    message, or not the words below it, the speech goes out as an ordinary file.

    If Discord finds a message too large, though it is within the limit, smaller files are made of
    what has not been posted yet.

    Args:
        interaction: The command.
        words: What is said beside the speech.
        speech: What to post.
        view: The buttons of the message that has the text.
        on_posted: Called for each message as soon as it is posted, whatever becomes of the rest.

    Raises `Refusal` if Discord takes it nowhere.
    """
    note = partial(_note_message, interaction, on_posted)
    can_follow_up = await _may_follow_up(interaction)
    limit = interaction.filesize_limit
    files = await speech.files(limit)
    if speech.reply_format is ReplyFormat.VOICE_MESSAGE and _is_voice_message(files):
        drawing = await speech.waveform()
        sent = await _send_voice_message(
            interaction, files[0], drawing, can_follow_up=can_follow_up
        )
        if sent is not None:
            note(*sent)
            below = await _say_below(interaction, words, view, can_follow_up=can_follow_up)
            if below is not None:
                note(below.id, below.channel.id)
                return
            await _take_back(interaction, *sent)
    senders = _senders(interaction, follow_up_first=can_follow_up)
    lower_limits = [lower for lower in _lower_limits() if lower < limit]
    is_first = True
    while True:
        posted: list[SpeechFile] = []
        try:
            async for group, message in _post_groups(
                senders, words, files, limit, view=view, is_first=is_first
            ):
                posted += group
                if message is not None:
                    note(message.id, message.channel.id)
                is_first = False
        except discord.HTTPException as error:
            if not _is_too_large(error) or not lower_limits:
                raise
            log.warning("upload limit was lower than announced", limit=limit)
            limit = lower_limits.pop(0)
            speech = speech.rest(posted)
            files = await speech.files(limit)
        else:
            return


async def _may_follow_up(interaction: Interaction) -> bool:
    """Whether a follow-up to the command is public now, and its token has not ended.

    While the private message still "thinks", Discord takes the first follow-up for its text, and
    keeps that as private as the message was going to be. So the message gets other words first.
    https://discord.com/developers/docs/interactions/receiving-and-responding#followup-messages
    """
    if not has_token(interaction):
        return False
    try:
        await interaction.edit_original_response(content="Sending…", view=None)
    except DISCORD_FAILURES as error:
        says_token_ended(interaction, error)
        log.warning("private answer refused", reason=repr(error))
        return False
    return True


async def _send_voice_message(
    interaction: Interaction, file: SpeechFile, drawing: bytes, *, can_follow_up: bool
) -> tuple[int, int] | None:
    """Try a follow-up, then an ordinary message.

    Returns the ids of the message that was accepted and of its channel, or None.
    """
    routes = [voice_message.follow_up(interaction)] if can_follow_up else []
    if interaction.channel_id is not None and may_post(interaction, files=True):
        routes.append(voice_message.channel_message(interaction.channel_id))
    for route in routes:
        try:
            return await voice_message.send_voice_message(interaction.client, route, file, drawing)
        except DISCORD_FAILURES as error:
            says_token_ended(interaction, error)
            log.info("voice message refused", reason=repr(error))
    return None


async def _say_below(
    interaction: Interaction,
    words: PublicWords,
    view: discord.ui.View | None,
    *,
    can_follow_up: bool,
) -> discord.Message | None:
    """Post the words below a voice message; None if Discord doesn't take them."""
    senders = _senders_below(interaction, can_follow_up=can_follow_up)
    try:
        return await _post(senders, words.below_voice_message, [], view=view, is_first=True)
    except (Refusal, *DISCORD_FAILURES) as error:
        log.warning("the words below a voice message were refused", reason=repr(error))
        return None


async def _take_back(interaction: Interaction, message_id: int, channel_id: int) -> None:
    """Delete a voice message. While Discord can't be reached, it is tried again."""
    channel = interaction.client.get_partial_messageable(channel_id)
    ways = [channel.get_partial_message(message_id).delete]
    if has_token(interaction):  # the message may be a follow-up, or an ordinary one
        ways.insert(0, partial(interaction.followup.delete_message, message_id))
    for pause in (*SECONDS_TO_NEXT_TRY, None):
        for delete in tuple(ways):
            try:
                await delete()
            except DISCORD_FAILURES as error:
                says_token_ended(interaction, error)
                log.warning("a voice message without words is still there", reason=repr(error))
                if _is_refusal(error):
                    ways.remove(delete)
            else:
                return
        if not ways or pause is None:
            return
        await asyncio.sleep(pause)


def _note_message(
    interaction: Interaction, on_posted: OnPosted, message_id: int, channel_id: int
) -> None:
    """Tell of a message, which is in the interaction's channel or in a direct one."""
    is_here = channel_id == interaction.channel_id
    on_posted(message_id, channel_id, interaction.guild_id if is_here else None)


def _senders(interaction: Interaction, *, follow_up_first: bool) -> list[Sender]:
    """The ways to post speech, best first.

    A follow-up to the command is best, if it may be public; else it comes last. Ordinary messages
    work when the interaction's token has ended, after 15 minutes. Speech can go to the person
    directly, too.
    """
    place = [interaction.channel] if may_post(interaction, files=True) else []
    ordinary = _ordinary(interaction, *place, interaction.user)
    if not has_token(interaction):
        return ordinary
    follow_up = _follow_up(interaction)
    return [follow_up, *ordinary] if follow_up_first else [*ordinary, follow_up]


def _senders_below(interaction: Interaction, *, can_follow_up: bool) -> list[Sender]:
    """The ways to post words below a voice message, where all see it who see that."""
    follow_up = [_follow_up(interaction)] if can_follow_up and has_token(interaction) else []
    place = [interaction.channel] if may_post(interaction) else []
    return [*follow_up, *_ordinary(interaction, *place)]


def _follow_up(interaction: Interaction) -> Sender:
    return discord.AllowedMentions.none(), interaction.followup.send


def _ordinary(interaction: Interaction, *places: object) -> list[Sender]:
    """Ordinary messages. They ping whoever asked: nothing else ties them to the command."""
    return [
        (mention_of(interaction.user), place.send)
        for place in places
        if isinstance(place, discord.abc.Messageable)
    ]


async def _post_groups(  # noqa: PLR0913 - what is sent, how, and with which buttons
    senders: Sequence[Sender],
    words: PublicWords,
    files: Sequence[SpeechFile],
    limit: int,
    *,
    view: discord.ui.View | None,
    is_first: bool,
) -> AsyncIterator[tuple[list[SpeechFile], discord.Message | None]]:
    """Post files; yield each message's files and the message."""
    for group in _groups(files, min(limit, SAFE_TOTAL_LIMIT)):
        content = words.beside_file if is_first else words.beside_next_files
        buttons = view if is_first else None
        yield group, await _post(senders, content, group, view=buttons, is_first=is_first)
        is_first = False


def _lower_limits() -> tuple[int, ...]:
    """What is tried, one after the other, where Discord takes less than it announced."""
    return SAFE_UPLOAD_LIMIT, SAFE_UPLOAD_LIMIT // 2, SAFE_UPLOAD_LIMIT // 8


def _is_voice_message(files: Sequence[SpeechFile]) -> bool:
    """Whether speech can be a voice message: it is one file, and the encoder has not failed."""
    return len(files) == 1 and files[0].name.endswith(f".{AudioFormat.OGG}")


async def _post(
    senders: Sequence[Sender],
    content: str,
    files: Sequence[SpeechFile],
    *,
    view: discord.ui.View | None,
    is_first: bool,
) -> discord.Message | None:
    """Send one message in the first way that works, and return it. Only the first one pings.

    Raises `Refusal` if none does: that the bot may not post only if Discord said so each time.
    """
    may_not_post = True
    buttons: dict[str, Any] = {} if view is None else {"view": view}
    for pinged, send in senders:
        allowed_mentions = pinged if is_first else discord.AllowedMentions.none()
        # discord.py closes files after a request, so each try needs its own.
        uploads = [discord.File(io.BytesIO(file.data), filename=file.name) for file in files]
        try:
            return await send(
                content,
                files=uploads,
                suppress_embeds=True,
                allowed_mentions=allowed_mentions,
                **buttons,
            )
        except DISCORD_FAILURES as error:
            if _is_too_large(error):
                raise
            log.warning("speech refused here", reason=repr(error))
            may_not_post &= _is_refusal(error)
    raise Refusal(Reason.MAY_NOT_POST if may_not_post else Reason.NOT_POSTED)


def _groups(files: Sequence[SpeechFile], total_bytes: int) -> Iterator[list[SpeechFile]]:
    """Distribute files over messages, in order. A file over the total gets a message of its own."""
    group: list[SpeechFile] = []
    for file in files:
        full = sum(len(other.data) for other in group) + len(file.data) > total_bytes
        if group and (full or len(group) == MAX_FILES_PER_MESSAGE):
            yield group
            group = []
        group.append(file)
    yield group


def _is_refusal(error: BaseException) -> bool:
    """Whether Discord answered that it won't, rather than that it can't now, or not at all."""
    return isinstance(error, discord.HTTPException) and (
        HTTPStatus.BAD_REQUEST <= error.status < HTTPStatus.INTERNAL_SERVER_ERROR
        and error.status != HTTPStatus.TOO_MANY_REQUESTS
    )


def _is_too_large(error: BaseException) -> bool:
    return isinstance(error, discord.HTTPException) and (
        error.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE or error.code == REQUEST_TOO_LARGE
    )
