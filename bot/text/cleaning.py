"""Clean what people type."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bot.text.characters import composed, has_words, is_wide, readable
from bot.text.markup import as_heard

if TYPE_CHECKING:
    from bot.text.markup import NameOf

MAX_TEXT_CHARACTERS = 5_000
"""The longest text that people may have spoken at once."""

_LONGEST_RUN = 5
_LONG_RUN = re.compile(rf"([^0-9\s])\1{{{_LONGEST_RUN},}}")
_LINE_MARKER = re.compile(r"(?:(?:-#|#{1,3}|[-•]) )+")
_AT = re.compile(r"(?<!\S)@+(?=\w)")


def clean(text: str, *, name_of: NameOf) -> str:
    """What a listener should hear of a text, with Discord's markup gone.

    Mentions, times, links, code and spoilers become a few words; what a spoiler hides is not said.
    Emoji are left out, but for custom ones, which are words to those who use them. Nothing that a
    model could take for a control token is left. Cleaning what is clean changes nothing.

    Args:
        text: As typed. The answer can be longer, as it holds names where mentions were.
        name_of: Finds the names behind mentions.

    Returns paragraphs separated by blank lines, or "" if there is nothing to say.
    """
    text = composed(as_heard(readable(text), name_of=name_of))
    paragraphs: list[list[str]] = [[]]
    for line in map(_spoken_line, text.split("\n")):
        if line:
            paragraphs[-1].append(line)
        else:
            paragraphs.append([])
    return "\n\n".join(_joined(lines) for lines in paragraphs if lines)


def _spoken_line(line: str) -> str:
    """A line without what marks it as a heading or an item, or "" if it holds no words."""
    line = " ".join(line.split())
    if marker := _LINE_MARKER.match(line):
        line = line[marker.end() :]
    line = _LONG_RUN.sub(lambda run: run[1] * _LONGEST_RUN, _AT.sub("", line))
    return line if has_words(line) else ""


def _joined(lines: list[str]) -> str:
    """One paragraph. In a chat, a new line is a new sentence, with or without a full stop."""
    return " ".join([*map(_ended, lines[:-1]), lines[-1]])


def _ended(line: str) -> str:
    if not line[-1].isalnum():
        return line
    return line + ("\N{IDEOGRAPHIC FULL STOP}" if is_wide(line[-1]) else ".")
