"""What everybody reads of speech, as tests expect it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.interface.wording.sentences import PREVIEW_NOTICE

if TYPE_CHECKING:
    from tests.support.discord_server import Member

UNNAMED = "New voice"


def attribution(voice: str, asked_by: Member, *, owner: Member | None = None) -> str:
    """Which voice is heard, escaped, whose it is if somebody else asked, and who did."""
    whose = "" if owner is None else f" by {owner.actor.mention}"
    return f"**{voice}**{whose} (synthetic voice, asked by {asked_by.actor.mention})"


def beside_file(
    voice: str,
    text: str,
    asked_by: Member,
    *,
    extent: str = "",
    notice: str | None = PREVIEW_NOTICE,
) -> str:
    """The words of a message with speech.

    Args:
        voice: The voice's name, escaped.
        text: What it says, as it is shown.
        asked_by: Who asked for it.
        extent: How much of the text that is, if it isn't all.
        notice: What is said of the voice engine, in small print.
    """
    heading = f"{attribution(voice, asked_by)}{extent}:"
    small = [] if notice is None else [f"-# {notice}"]
    return "\n".join([heading, *small, f"> {text}"])


def below_voice_message(voice: str, text: str, asked_by: Member) -> str:
    """The words of the message below a voice message."""
    return f"-# {beside_file(voice, text, asked_by)}"


def in_queue(voice: str, text: str, asked_by: Member, *, owner: Member | None = None) -> str:
    """How `/queue` names speech."""
    return f"{attribution(voice, asked_by, owner=owner)}: “{text}”"


def in_voice_chat(voice: str, asked_by: Member, *, owner: Member | None = None) -> str:
    """The beginning of what a voice channel's chat is told."""
    return f"-# {attribution(voice, asked_by, owner=owner)} is heard here."


def text_beside(content: str) -> str:
    """The text in the words beside speech, as it is shown."""
    return content.splitlines()[-1].removeprefix("> ")
