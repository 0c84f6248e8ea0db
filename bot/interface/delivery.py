"""Getting an answer to Discord, even if the token has ended or the upload limit was too high."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import aiohttp
import discord
import structlog

from bot.audio.encode import AudioFormat, SpeechEncodingError, encode_speech, waveform
from bot.errors import Reason, Refusal
from bot.interface import voice_message
from bot.interface.tokens import has_token, says_token_ended
from bot.interface.wording import UNTOLD, link_commands

if TYPE_CHECKING:
    from bot.audio.encode import SpeechFile
    from bot.interface.attribution import PublicWords
    from bot.streaming import Speech

log = structlog.get_logger(__name__)

Interaction = discord.Interaction[Any]

Sender = tuple[discord.AllowedMentions, Callable[..., Awaitable[discord.Message | None]]]
"""A way to send a message: whom its first one pings, and discord.py's method."""

OnPosted = Callable[[int, int, int | None], object]
"""Told of each message that was posted: its id, its channel's, and its server's or None."""

DISCORD_FAILURES = (discord.HTTPException, aiohttp.ClientError, OSError)
"""What a request to Discord may raise: its refusals, and a connection that breaks."""

# https://discord.com/developers/docs/topics/opcodes-and-status-codes#json
REQUEST_TOO_LARGE = 40005

SAFE_UPLOAD_LIMIT = 8 * 1024 * 1024
"""Accepted everywhere on Discord; used if a server accepts less than the interaction said."""

SAFE_TOTAL_LIMIT = 24 * 1024 * 1024
"""The most that the files of one message have together; a request may hold 25 MiB."""

MAX_FILES_PER_MESSAGE = 10

SECONDS_TO_NEXT_TRY = (1.0, 3.0, 10.0, 20.0, 30.0, 60.0)
"""How long to wait before somebody is told again, if Discord couldn't be reached. A connection to a
voice channel is given up after about a minute without a network, and the network may come later."""


class ReplyFormat(StrEnum):
    """How speech can be attached. The value is the slash command's."""

    OGG = "ogg"
    VOICE_MESSAGE = "voice-message"
    MP3 = "mp3"
    WAV = "wav"
    FLAC = "flac"

    @property
    def audio_format(self) -> AudioFormat:
        """The kind of file that is uploaded for it."""
        return AudioFormat.OGG if self is ReplyFormat.VOICE_MESSAGE else AudioFormat(self.value)


@dataclass(frozen=True, slots=True)
class SpeechAttachment:
    """Speech to be posted; encoded once the upload limit is known.

    Attributes:
        speech: What to encode.
        reply_format: How it is attached.
        encoders: Bounds how many encoders run at once.
        check: Called when files are made; it raises what keeps the speech from being posted then.
        parts_before: How many parts of the same speech were posted earlier.
    """

    speech: Speech
    reply_format: ReplyFormat
    encoders: asyncio.Semaphore
    check: Callable[[], None] = lambda: None
    parts_before: int = 0

    async def files(self, limit_bytes: int) -> list[SpeechFile]:
        """Make files of the speech, none larger than the limit.

        If the encoder fails, they are WAV files, which need none: the speech is not thrown away.
        """
        async with self.encoders:
            try:
                files = await self._encode(self.reply_format.audio_format, limit_bytes)
            except SpeechEncodingError as error:
                log.error("speech not encoded; posted as WAV", exc_info=error)  # noqa: TRY400 - as the other logs
                files = await self._encode(AudioFormat.WAV, limit_bytes)
        self.check()
        return files

    def rest(self, posted: Sequence[SpeechFile]) -> SpeechAttachment:
        """What is left of the speech when some of its files have been posted."""
        return replace(
            self,
            speech=self.speech.after(sum(file.seconds for file in posted)),
            parts_before=self.parts_before + len(posted),
        )

    async def waveform(self) -> bytes:
        """Draw the speech as Discord shows it in a voice message."""
        return await asyncio.to_thread(waveform, self.speech.pcm, self.speech.sample_rate)

    async def _encode(self, audio_format: AudioFormat, limit_bytes: int) -> list[SpeechFile]:
        return await encode_speech(
            self.speech.pcm,
            self.speech.sample_rate,
            audio_format,
            limit_bytes=limit_bytes,
            stem="speech",
            breaks=self.speech.breaks,
            parts_before=self.parts_before,
        )


async def post_speech(
    interaction: Interaction, words: PublicWords, speech: SpeechAttachment, *, on_posted: OnPosted
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
            below = await _say_below(interaction, words, can_follow_up=can_follow_up)
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
                senders, words, files, limit, is_first=is_first
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


async def show_privately(
    interaction: Interaction,
    content: str | None,
    *,
    embed: discord.Embed | None = None,
    view: discord.ui.View | None = None,
) -> None:
    """Replace the private message; if the interaction's token has ended, tell the person anyhow.

    That is by a direct message. If they take none, a message in the channel says that there is
    something to tell, and nothing of what it is. While Discord can't be reached, it is tried again.
    """
    content = content and with_links(interaction, content)
    if embed is not None:
        link_in_embed(interaction, embed)
    for pause in (*SECONDS_TO_NEXT_TRY, None):
        if not has_token(interaction):
            break
        try:
            await interaction.edit_original_response(content=content, embed=embed, view=view)
        except DISCORD_FAILURES as error:
            log.warning("private answer refused", reason=repr(error))
            if says_token_ended(interaction, error):
                break
            if isinstance(error, discord.HTTPException) or pause is None:
                return
            await asyncio.sleep(pause)
        else:
            return
    try:
        await interaction.user.send(content, embed=embed or discord.utils.MISSING)
    except DISCORD_FAILURES as error:
        log.warning("private answer refused", reason=repr(error))
        await _say_in_channel(interaction, UNTOLD)


async def send_privately(interaction: Interaction, name: str, data: bytes) -> None:
    """Send a file that only the person sees, below the private message.

    That gets other words first, for the same reason as in `_may_follow_up`, and keeps its buttons.
    Raises `Refusal` if Discord doesn't take it.

    Args:
        interaction: The command.
        name: The file's name.
        data: The file's bytes.
    """
    if has_token(interaction):
        try:
            await interaction.edit_original_response(content="Sending…")
            file = discord.File(io.BytesIO(data), filename=name)
            await interaction.followup.send(file=file, ephemeral=True)
        except DISCORD_FAILURES as error:
            says_token_ended(interaction, error)
            log.warning("private file refused", reason=repr(error))
        else:
            return
    raise Refusal(Reason.EXPORT_NOT_SENT)


def with_links(interaction: Interaction, words: str) -> str:
    """The words with Discord's links to the commands that they name."""
    return link_commands(words, interaction.client.command_ids)


def link_in_embed(interaction: Interaction, embed: discord.Embed) -> None:
    """Put Discord's links to the commands that an embed names into it."""
    embed.description = embed.description and with_links(interaction, embed.description)
    for index, field in enumerate(embed.fields):
        value = with_links(interaction, field.value or "")
        embed.set_field_at(index, name=field.name, value=value, inline=field.inline)


async def delete_private_message(interaction: Interaction) -> None:
    """Delete the private message: the public result says everything."""
    if not has_token(interaction):
        return
    try:
        await interaction.delete_original_response()
    except DISCORD_FAILURES as error:
        log.debug("private message stays", reason=repr(error))


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
    if interaction.channel_id is not None and _may_post(interaction, files=True):
        routes.append(voice_message.channel_message(interaction.channel_id))
    for route in routes:
        try:
            return await voice_message.send_voice_message(interaction.client, route, file, drawing)
        except DISCORD_FAILURES as error:
            says_token_ended(interaction, error)
            log.info("voice message refused", reason=repr(error))
    return None


async def _say_below(
    interaction: Interaction, words: PublicWords, *, can_follow_up: bool
) -> discord.Message | None:
    """Post the words below a voice message; None if Discord doesn't take them."""
    senders = _senders_below(interaction, can_follow_up=can_follow_up)
    try:
        return await _post(senders, words.below_voice_message, [], is_first=True)
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
    place = [interaction.channel] if _may_post(interaction, files=True) else []
    ordinary = _ordinary(interaction, *place, interaction.user)
    if not has_token(interaction):
        return ordinary
    follow_up = _follow_up(interaction)
    return [follow_up, *ordinary] if follow_up_first else [*ordinary, follow_up]


def _senders_below(interaction: Interaction, *, can_follow_up: bool) -> list[Sender]:
    """The ways to post words below a voice message, where all see it who see that."""
    follow_up = [_follow_up(interaction)] if can_follow_up and has_token(interaction) else []
    place = [interaction.channel] if _may_post(interaction) else []
    return [*follow_up, *_ordinary(interaction, *place)]


def _follow_up(interaction: Interaction) -> Sender:
    return discord.AllowedMentions.none(), interaction.followup.send


def _ordinary(interaction: Interaction, *places: object) -> list[Sender]:
    """Ordinary messages. They ping whoever asked: nothing else ties them to the command."""
    return [
        (_mention_of(interaction.user), place.send)
        for place in places
        if isinstance(place, discord.abc.Messageable)
    ]


def _may_post(interaction: Interaction, *, files: bool = False) -> bool:
    """Whether the bot may post an ordinary message in the interaction's channel.

    Discord counts refused tries, so what would be refused is not tried.
    """
    if interaction.guild_id is None:
        return True
    allowed = interaction.app_permissions
    in_thread = isinstance(interaction.channel, discord.Thread)
    may_send = allowed.send_messages_in_threads if in_thread else allowed.send_messages
    return allowed.view_channel and may_send and (allowed.attach_files or not files)


async def _say_in_channel(interaction: Interaction, words: str) -> None:
    """Post words in the interaction's channel, with a mention of who used the command."""
    channel, person = interaction.channel, interaction.user
    if not isinstance(channel, discord.abc.Messageable) or not _may_post(interaction):
        return
    try:
        await channel.send(f"{person.mention} {words}", allowed_mentions=_mention_of(person))
    except DISCORD_FAILURES as error:
        log.warning("private answer lost", reason=repr(error))


def _mention_of(person: discord.User | discord.Member) -> discord.AllowedMentions:
    return discord.AllowedMentions(users=[person], everyone=False, roles=False)


async def _post_groups(
    senders: Sequence[Sender],
    words: PublicWords,
    files: Sequence[SpeechFile],
    limit: int,
    *,
    is_first: bool,
) -> AsyncIterator[tuple[list[SpeechFile], discord.Message | None]]:
    """Post files; yield each message's files and the message."""
    for group in _groups(files, min(limit, SAFE_TOTAL_LIMIT)):
        content = words.beside_file if is_first else words.beside_next_files
        yield group, await _post(senders, content, group, is_first=is_first)
        is_first = False


def _lower_limits() -> tuple[int, ...]:
    """What is tried, one after the other, where Discord takes less than it announced."""
    return SAFE_UPLOAD_LIMIT, SAFE_UPLOAD_LIMIT // 2, SAFE_UPLOAD_LIMIT // 8


def _is_voice_message(files: Sequence[SpeechFile]) -> bool:
    """Whether speech can be a voice message: it is one file, and the encoder has not failed."""
    return len(files) == 1 and files[0].name.endswith(f".{AudioFormat.OGG}")


async def _post(
    senders: Sequence[Sender], content: str, files: Sequence[SpeechFile], *, is_first: bool
) -> discord.Message | None:
    """Send one message in the first way that works, and return it. Only the first one pings.

    Raises `Refusal` if none does: that the bot may not post only if Discord said so each time.
    """
    may_not_post = True
    for pinged, send in senders:
        allowed_mentions = pinged if is_first else discord.AllowedMentions.none()
        # discord.py closes files after a request, so each try needs its own.
        uploads = [discord.File(io.BytesIO(file.data), filename=file.name) for file in files]
        try:
            return await send(
                content, files=uploads, suppress_embeds=True, allowed_mentions=allowed_mentions
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


def has_code(error: BaseException, *codes: int) -> bool:
    """Whether Discord refused a request with one of these codes."""
    return isinstance(error, discord.HTTPException) and error.code in codes


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
