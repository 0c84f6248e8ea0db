"""What people attach to commands and messages."""

from __future__ import annotations

import mimetypes
from typing import TYPE_CHECKING

from bot.audio.reference import check_upload
from bot.errors import Reason, Refusal
from bot.interface.delivery.answers import DISCORD_FAILURES

if TYPE_CHECKING:
    import discord


async def download(attachment: discord.Attachment) -> bytes:
    """Read an upload at once, since its address expires. Raises `Refusal`."""
    check_upload(attachment.size)
    try:
        return await attachment.read()
    except DISCORD_FAILURES as error:
        raise Refusal(Reason.UPLOAD_NOT_FETCHED) from error


def recordings_in(message: discord.Message) -> list[discord.Attachment]:
    """Return the attachments of a message, or of what it forwards, that should have sound."""
    attached = [
        *message.attachments,
        *(each for forwarded in message.message_snapshots for each in forwarded.attachments),
    ]
    return [each for each in attached if _should_have_sound(each)]


def _should_have_sound(attachment: discord.Attachment) -> bool:
    """Whether Discord, or else the file's name, says that it is audio or video."""
    kind = attachment.content_type or mimetypes.guess_type(attachment.filename)[0] or ""
    return attachment.is_voice_message() or kind.startswith(("audio/", "video/"))
