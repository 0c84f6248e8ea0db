"""Getting an answer to Discord, whatever became of the interaction's token or the upload limit."""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable, Iterator, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING

import discord
import structlog

from bot.errors import Refusal
from bot.interface import voice_message
from bot.interface.attachments import ReplyFormat
from bot.interface.errors import DISCORD_FAILURES

if TYPE_CHECKING:
    from discord.http import Route

    from bot.audio.encode import SpeechFile
    from bot.client import VoiceBot
    from bot.interface.attachments import SpeechAttachment

log = structlog.get_logger(__name__)

Send = Callable[[str, Sequence["SpeechFile"]], Awaitable[object]]
"""Sends one message: its words and its files."""

# https://discord.com/developers/docs/topics/opcodes-and-status-codes#json
UNKNOWN_WEBHOOK = 10015
INVALID_WEBHOOK_TOKEN = 50027
REQUEST_TOO_LARGE = 40005

SAFE_UPLOAD_LIMIT = 8 * 1024 * 1024
"""Taken everywhere on Discord; used if a server takes less than the interaction said."""

SAFE_TOTAL_LIMIT = 24 * 1024 * 1024
"""Several files in one message stay below this together; a request may hold 25 MiB."""

MAX_FILES_PER_MESSAGE = 10


async def post_speech(
    interaction: discord.Interaction[VoiceBot], content: str, speech: SpeechAttachment
) -> None:
    """Post speech in the interaction's channel, in as many messages as its upload limit asks for.

    A voice message holds no words, so they follow in a second message. Where Discord takes no voice
    message, the speech goes out as an ordinary file.

    Raises `Refusal` if there is no place left where it may be posted.
    """
    can_follow_up = await _may_follow_up(interaction)
    places = _places(interaction, follow_up_first=can_follow_up)
    limit = interaction.filesize_limit
    files = await speech.files(limit)
    if speech.reply_format is ReplyFormat.VOICE_MESSAGE and len(files) == 1:
        routes = _voice_message_routes(interaction, can_follow_up=can_follow_up)
        drawing = await speech.waveform()
        if await voice_message.send_voice_message(interaction.client, routes, files[0], drawing):
            files = []
    try:
        await _post_groups(places, content, files, limit)
    except discord.HTTPException as error:
        if not _is_too_large(error):
            raise
        log.warning("upload limit was lower than announced", limit=limit)
        files = await speech.files(SAFE_UPLOAD_LIMIT)
        await _post_groups(places, content, files, SAFE_UPLOAD_LIMIT)


async def show_privately(
    interaction: discord.Interaction[VoiceBot],
    content: str | None,
    *,
    embed: discord.Embed | None = None,
) -> None:
    """Put words in place of the private message; by direct message if its token has ended."""
    try:
        await interaction.edit_original_response(content=content, embed=embed, view=None)
    except DISCORD_FAILURES as error:
        log.warning("private answer refused", reason=repr(error))
        if not _token_ended(error):
            return
        try:
            await interaction.user.send(content, embed=embed or discord.utils.MISSING)
        except DISCORD_FAILURES as second:
            log.warning("private answer lost", reason=repr(second))


async def take_away(interaction: discord.Interaction[VoiceBot]) -> None:
    """Delete the private message: the result speaks for itself."""
    try:
        await interaction.delete_original_response()
    except DISCORD_FAILURES as error:
        log.debug("private message stays", reason=repr(error))


async def _may_follow_up(interaction: discord.Interaction[VoiceBot]) -> bool:
    """Whether a follow-up to the command is public now, and its token has not ended.

    While the private message still "thinks", Discord takes the first follow-up for its text, and
    keeps that as private as the message was going to be. So the message gets other words first.
    https://discord.com/developers/docs/interactions/receiving-and-responding#followup-messages
    """
    try:
        await interaction.edit_original_response(content="Sending…", view=None)
    except DISCORD_FAILURES as error:
        log.warning("private answer refused", reason=repr(error))
        return False
    return True


def _places(interaction: discord.Interaction[VoiceBot], *, follow_up_first: bool) -> list[Send]:
    """Where speech can go, best first.

    A follow-up to the command is best, if it may be public; else it comes last. Ordinary messages
    work when the interaction's token has ended, after 15 minutes. They mention whoever asked, since
    nothing else ties them to the command.
    """

    async def follow_up(content: str, files: Sequence[SpeechFile]) -> None:
        await interaction.followup.send(content, files=_uploads(files), suppress_embeds=True)

    ordinary = [
        _ordinary_message(place, interaction.user)
        for place in (interaction.channel, interaction.user)
        if isinstance(place, discord.abc.Messageable)
    ]
    return [follow_up, *ordinary] if follow_up_first else [*ordinary, follow_up]


def _voice_message_routes(
    interaction: discord.Interaction[VoiceBot], *, can_follow_up: bool
) -> list[Route]:
    routes = [voice_message.follow_up(interaction)] if can_follow_up else []
    if interaction.channel_id is not None:
        routes.append(voice_message.channel_message(interaction.channel_id))
    return routes


def _ordinary_message(
    place: discord.abc.Messageable, person: discord.User | discord.Member
) -> Send:
    mentions = discord.AllowedMentions(users=[person], everyone=False, roles=False)

    async def send(content: str, files: Sequence[SpeechFile]) -> None:
        await place.send(
            f"{person.mention} {content}".strip(),
            files=_uploads(files),
            allowed_mentions=mentions,
            suppress_embeds=True,
        )

    return send


async def _post_groups(
    places: Sequence[Send], content: str, files: Sequence[SpeechFile], limit: int
) -> None:
    for number, group in enumerate(_groups(files, min(limit, SAFE_TOTAL_LIMIT))):
        await _post(places, content if number == 0 else "", group)


async def _post(places: Sequence[Send], content: str, files: Sequence[SpeechFile]) -> None:
    """Send one message to the first place that takes it."""
    for send in places:
        try:
            await send(content, files)
        except DISCORD_FAILURES as error:
            if isinstance(error, discord.HTTPException) and _is_too_large(error):
                raise
            log.warning("speech refused here", reason=repr(error))
        else:
            return
    raise Refusal("The speech is ready, but I may not post here. Ask an admin to let me.")


def _groups(files: Sequence[SpeechFile], total_bytes: int) -> Iterator[list[SpeechFile]]:
    """Share files out over messages, in order; a message with one file may be over the total."""
    group: list[SpeechFile] = []
    for file in files:
        full = sum(len(other.data) for other in group) + len(file.data) > total_bytes
        if group and (full or len(group) == MAX_FILES_PER_MESSAGE):
            yield group
            group = []
        group.append(file)
    yield group


def _token_ended(error: BaseException) -> bool:
    return isinstance(error, discord.HTTPException) and error.code in {
        UNKNOWN_WEBHOOK,
        INVALID_WEBHOOK_TOKEN,
    }


def _is_too_large(error: discord.HTTPException) -> bool:
    too_large = error.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    return too_large or error.code == REQUEST_TOO_LARGE


def _uploads(files: Sequence[SpeechFile]) -> list[discord.File]:
    """Wrap files for one request; discord.py closes them, so each try needs its own."""
    return [discord.File(io.BytesIO(file.data), filename=file.name) for file in files]
