"""What people attach to a command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.audio.reference import check_upload
from bot.errors import Reason, Refusal
from bot.interface.delivery import DISCORD_FAILURES

if TYPE_CHECKING:
    import discord


async def download(attachment: discord.Attachment) -> bytes:
    """Read an upload at once, since its address expires. Raises `Refusal`."""
    check_upload(attachment.size)
    try:
        return await attachment.read()
    except DISCORD_FAILURES as error:
        raise Refusal(Reason.UPLOAD_NOT_FETCHED) from error
