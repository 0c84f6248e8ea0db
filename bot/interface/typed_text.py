"""What people typed, as Discord shows it to the letter."""

from __future__ import annotations

import re
import unicodedata

import discord

MAX_EXCERPT_CHARACTERS = 300

_MARKUP = re.compile(r"[\\*_~|`<>\[\]()#]")
_DIRECTIONS = re.compile("[\u202a-\u202e\u2066-\u2069]")
_UNSEEN = re.compile("[\u00ad\u034f\u17b4\u17b5\u180e\u200b\u2060-\u2064\u206a-\u206f\ufeff]")
_BLANKS = re.compile("[\u115f\u1160\u2800\u3164\uffa0]")
_DOUBLE_QUOTES = re.compile('["“”„‟«»\uff02]')
_RIGHT_TO_LEFT = {"R", "AL", "AN"}
"""Unicode's bidirectional classes of letters, and of digits, that are laid out from the right."""

_ISOLATE, _END_ISOLATE = "\u2068", "\u2069"
_ESCAPED = re.compile(r"\\([\\*_~|`<>\[\]()#])")
_KEEPS_FROM_MENTIONING = "\u200b"
"""What `discord.utils.escape_mentions` puts behind an @."""

_SPOILER = re.compile(r"\|\|.+?\|\|", re.DOTALL)


def voice_name(name: str) -> str:
    """A voice's name as text that Discord shows to the letter, on one line."""
    return f"**{as_text(_on_one_line(name) or '…')}**"


def as_text(typed: str) -> str:
    """Someone's text to the letter: no markup, no mention, no masked link, no timestamp.

    Discord shows any punctuation behind a backslash as it is. discord.py's `escape_markdown` is not
    used, because it leaves some brackets alone and so lets masked links through. Marks that would
    turn the text after it around are left out. Letters that run from right to left are isolated, or
    they would turn the brackets and digits after them around.
    """
    typed = _DIRECTIONS.sub("", typed)
    escaped = _MARKUP.sub(r"\\\g<0>", discord.utils.escape_mentions(typed))
    runs_left = any(unicodedata.bidirectional(each) in _RIGHT_TO_LEFT for each in typed)
    return f"{_ISOLATE}{escaped}{_END_ISOLATE}" if runs_left else escaped


def as_typed(shown: str) -> str:
    """Undo `as_text`, which leaves out only what turns text around."""
    bare = shown.removeprefix(_ISOLATE).removesuffix(_END_ISOLATE)
    return _ESCAPED.sub(r"\1", bare.replace(_KEEPS_FROM_MENTIONING, ""))


def excerpt(typed: str, *, max_characters: int = MAX_EXCERPT_CHARACTERS) -> str:
    """Someone's text on one line: shortened, spoilers hidden, everything else to the letter."""
    flat = _on_one_line(_SPOILER.sub("▮▮▮", typed))
    if len(flat) > max_characters:
        flat = flat[: max_characters - 1].rstrip() + "…"
    return as_text(flat)


def quoted(typed: str, *, max_characters: int = MAX_EXCERPT_CHARACTERS) -> str:
    """An excerpt in quotation marks that the text itself can't close."""
    inner = _DOUBLE_QUOTES.sub("'", typed)
    return f"“{excerpt(inner, max_characters=max_characters)}”"


def _on_one_line(typed: str) -> str:
    """A text without line breaks, blanks in a row, and characters that nobody sees."""
    seen = _UNSEEN.sub("", _DIRECTIONS.sub("", typed))
    return " ".join(_BLANKS.sub(" ", seen).split())
