"""People's own words on their way into a message: escaped, shortened; and lengths of time."""

from __future__ import annotations

import re

import discord

MAX_EXCERPT_CHARACTERS = 300

_MARKUP = re.compile(r"[\\*_~|`<>\[\]()#]")
_SPOILER = re.compile(r"\|\|.+?\|\|", re.DOTALL)


def voice_name(name: str) -> str:
    """A voice's name as text that Discord shows to the letter."""
    return f"**{as_text(name)}**"


def as_text(typed: str) -> str:
    """Someone's text to the letter: no markup, no mention, no masked link, no timestamp.

    Discord shows any punctuation behind a backslash as it is. discord.py's `escape_markdown` is not
    used, because it leaves some brackets alone and so lets masked links through.
    """
    return _MARKUP.sub(r"\\\g<0>", discord.utils.escape_mentions(typed))


def excerpt(typed: str, *, max_characters: int = MAX_EXCERPT_CHARACTERS) -> str:
    """Someone's text on one line: shortened, spoilers hidden, everything else to the letter."""
    flat = " ".join(_SPOILER.sub("▮▮▮", typed).split())
    if len(flat) > max_characters:
        flat = flat[: max_characters - 1].rstrip() + "…"
    return as_text(flat)


def seconds(value: float) -> str:
    """A length of time, as people say it."""
    return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"  # noqa: PLR2004 - one decimal
