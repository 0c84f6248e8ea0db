"""Getting an answer to Discord, whatever became of the interaction's token or the upload limit."""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING

import discord
import structlog

from bot.audio.encode import AudioFormat, SpeechFile, encode_speech
from bot.errors import Refusal

if TYPE_CHECKING:
    from bot.audio.joining import JoinedSpeech
    from bot.client import VoiceBot

log = structlog.get_logger(__name__)

Encode = Callable[[int], Awaitable[Sequence[SpeechFile]]]
"""Makes the files of a reply, none larger than the given number of bytes."""

Post = Callable[["discord.Interaction[VoiceBot]", str, Sequence[SpeechFile]], Awaitable[None]]

# https://discord.com/developers/docs/topics/opcodes-and-status-codes#json
UNKNOWN_WEBHOOK = 10015
INVALID_WEBHOOK_TOKEN = 50027
REQUEST_TOO_LARGE = 40005

SAFE_UPLOAD_LIMIT = 8 * 1024 * 1024
"""Taken everywhere on Discord; used if a server takes less than the interaction said."""

SAFE_TOTAL_LIMIT = 24 * 1024 * 1024
"""Several files in one message stay below this together; a request may hold 25 MiB."""

MAX_FILES_PER_MESSAGE = 10


def encoder(speech: JoinedSpeech, audio_format: AudioFormat) -> Encode:
    """Prepare the encoding of speech for an upload limit that is known only later."""

    async def encode(limit_bytes: int) -> list[SpeechFile]:
        return await encode_speech(
            speech.pcm,
            speech.sample_rate,
            audio_format,
            limit_bytes=limit_bytes,
            stem="speech",
            breaks=speech.breaks,
        )

    return encode


async def post_speech(
    interaction: discord.Interaction[VoiceBot], content: str, encode: Encode
) -> None:
    """Post speech in the interaction's channel, in as many messages as its upload limit asks for.

    Raises `Refusal` if there is no place left where it may be posted.
    """
    post = _post_followup if await _no_longer_thinks(interaction) else _post_message
    limit = interaction.filesize_limit
    try:
        await _post_groups(interaction, post, content, await encode(limit))
    except discord.HTTPException as error:
        if error.status != HTTPStatus.REQUEST_ENTITY_TOO_LARGE and error.code != REQUEST_TOO_LARGE:
            raise
        log.warning("upload limit was lower than announced", limit=limit)
        await _post_groups(interaction, post, content, await encode(SAFE_UPLOAD_LIMIT))


async def show_privately(
    interaction: discord.Interaction[VoiceBot],
    content: str | None,
    *,
    embed: discord.Embed | None = None,
) -> None:
    """Put words in place of the private message; by direct message if its token has ended."""
    try:
        await interaction.edit_original_response(content=content, embed=embed, view=None)
    except discord.HTTPException as error:
        log.warning("private answer refused", status=error.status, code=error.code)
        if not _token_ended(error):
            return
        try:
            await interaction.user.send(content, embed=embed or discord.utils.MISSING)
        except discord.HTTPException as second:
            log.warning("private answer lost", status=second.status, code=second.code)


async def _no_longer_thinks(interaction: discord.Interaction[VoiceBot]) -> bool:
    """Give the private message its last words; return whether Discord took them.

    While that message still "thinks", Discord takes the first follow-up for its text, and keeps
    that as private as the message was going to be.
    https://discord.com/developers/docs/interactions/receiving-and-responding#followup-messages
    """
    try:
        await interaction.edit_original_response(content="Sending…", view=None)
    except discord.HTTPException as error:
        log.warning("private answer refused", status=error.status, code=error.code)
        return False
    return True


async def _post_groups(
    interaction: discord.Interaction[VoiceBot],
    post: Post,
    content: str,
    files: Sequence[SpeechFile],
) -> None:
    for number, group in enumerate(_groups(files)):
        await post(interaction, content if number == 0 else "", group)


def _groups(files: Sequence[SpeechFile]) -> list[list[SpeechFile]]:
    """Share files out over messages, in order."""
    groups: list[list[SpeechFile]] = []
    total = 0
    for file in files:
        total += len(file.data)
        if not groups or total > SAFE_TOTAL_LIMIT or len(groups[-1]) == MAX_FILES_PER_MESSAGE:
            groups.append([])
            total = len(file.data)
        groups[-1].append(file)
    return groups


async def _post_followup(
    interaction: discord.Interaction[VoiceBot], content: str, files: Sequence[SpeechFile]
) -> None:
    try:
        await interaction.followup.send(content, files=_uploads(files), suppress_embeds=True)
    except discord.HTTPException as error:
        if not _token_ended(error):
            raise
        await _post_message(interaction, content, files)


async def _post_message(
    interaction: discord.Interaction[VoiceBot], content: str, files: Sequence[SpeechFile]
) -> None:
    """Post as an ordinary message: an interaction's token ends after 15 minutes.

    Whoever asked is mentioned, since nothing else ties this message to their command.
    """
    person = interaction.user
    for place in (interaction.channel, person):
        if not isinstance(place, discord.abc.Messageable):
            continue
        try:
            await place.send(
                f"{person.mention} {content}".strip(),
                files=_uploads(files),
                allowed_mentions=discord.AllowedMentions(
                    users=[person], everyone=False, roles=False
                ),
                suppress_embeds=True,
            )
        except discord.Forbidden:
            continue
        return
    log.warning("speech could not be delivered", channel=interaction.channel_id)
    raise Refusal("The speech is ready, but I may not post here. Ask an admin to let me.")


def _token_ended(error: discord.HTTPException) -> bool:
    return error.code in {UNKNOWN_WEBHOOK, INVALID_WEBHOOK_TOKEN}


def _uploads(files: Sequence[SpeechFile]) -> list[discord.File]:
    """Wrap files for one request; discord.py closes them, so each try needs its own."""
    return [discord.File(io.BytesIO(file.data), filename=file.name) for file in files]
