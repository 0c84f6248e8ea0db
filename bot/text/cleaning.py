"""Turns what people type into plain text to speak."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bot.text.characters import composed, has_words, readable
from bot.text.endings import ended_line
from bot.text.markup import as_heard
from bot.text.repeats import without_long_refrains, without_long_runs
from bot.text.silences import is_silence, limited_silences, only_silences

if TYPE_CHECKING:
    from bot.text.markup import NameOf

MAX_TEXT_CHARACTERS = 5_000
"""The longest text for one command."""

_MOST_ROUNDS = 4
"""Markup may show up only once other markup was removed. Nearly always one round is enough, and the
next one finds nothing."""

_LINE_MARKER = re.compile(r"(?:(?:-#|#{1,3}|[-•]) )+")
_NAME_MARKER = re.compile(r"(?<!\S)(?:@+(?=\w)|#+(?=[^\W\d_]))")
"""The marks before the names of people, channels and topics; "#1" is a number."""


def clean(text: str, *, name_of: NameOf) -> str:
    """Turn a text with Discord's markup into plain text to speak.

    Mentions, times, links, code and spoilers are replaced by a few words. What a spoiler hides is
    not spoken. Custom emoji are replaced by their names, other emoji are removed. What is repeated
    too often is shortened. Whatever is removed, letters and digits around it never merge. The
    result contains no control tokens of a model. Cleaning a cleaned text changes nothing.

    Args:
        text: As typed. The result can be longer, because names replace mentions.
        name_of: Returns the names for mentions.

    Returns:
        Paragraphs separated by blank lines, or "" if there is nothing to speak. A typed pause is
        one character, see `bot.text.silences`.
    """
    for _ in range(_MOST_ROUNDS):
        cleaned = _cleaned(text, name_of)
        if cleaned == text:
            break
        text = cleaned
    return text


def _cleaned(text: str, name_of: NameOf) -> str:
    text = composed(as_heard(readable(text), name_of=name_of))
    text = limited_silences(text, otherwise=" ")
    paragraphs: list[list[str]] = [[]]
    for line in map(_spoken_line, text.split("\n")):
        if line:
            paragraphs[-1].append(line)
        else:
            paragraphs.append([])
    joined = "\n\n".join(_joined(lines) for lines in paragraphs if lines)
    cleaned = without_long_refrains(joined)
    return cleaned if has_words(cleaned) else ""


def _spoken_line(line: str) -> str:
    """A line without its heading or list marker. Without words, only its pauses are left."""
    line = " ".join(line.split())
    if marker := _LINE_MARKER.match(line):
        line = line[marker.end() :]
    line = without_long_runs(_NAME_MARKER.sub("", line))
    return line if has_words(line) else only_silences(line)


def _joined(lines: list[str]) -> str:
    """Join lines to a paragraph. Each line is a sentence, so a missing full stop is added."""
    return " ".join([*map(_ended, lines[:-1]), lines[-1]])


def _ended(line: str) -> str:
    return line if is_silence(line[-1]) else ended_line(line)
