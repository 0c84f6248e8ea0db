"""What people wrote in a message, as its menu needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.interface.attribution import text_beside
from bot.message_source import MessageSource

if TYPE_CHECKING:
    import discord


def text_of(message: discord.Message, *, bot: discord.ClientUser | None) -> str:
    """Return the text of a message, or of the one that it forwards; "" if there is none.

    Of the messages with speech that the bot itself posted, that is what was said.
    """
    texts = [message.content, *(forwarded.content for forwarded in message.message_snapshots)]
    text = next((each for each in texts if each.strip()), "")
    if bot is not None and message.author.id == bot.id:
        return text_beside(text) or text
    return text


def source_of(message: discord.Message) -> MessageSource:
    """Return what everybody is told of a message that is read aloud.

    What a webhook posts has no author who could be mentioned.
    """
    is_webhook = message.webhook_id is not None and message.interaction_metadata is None
    return MessageSource(message.jump_url, None if is_webhook else message.author.id)
