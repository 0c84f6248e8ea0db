"""Replaces Discord's markup with words that can be spoken, or with names that can be shown.

Every pattern here runs in linear time on any text: each repetition is bounded, or cannot match what
follows it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from bot.text.characters import REMOVED, has_words, readable, settled
from bot.text.comparisons import without_angles, without_hearts
from bot.text.links import ADDRESS, MARKDOWN_TARGET, spoken_address
from bot.text.repeats import MOST_REPEATS
from bot.text.silences import mark_silences
from bot.text.smileys import without_smileys

_NESTED = r"\[ (?: [^\[\]\n] | \[ [^\[\]\n]* \] )* \]"
_SHOWN_OTHERWISE = re.compile(  # as in Discord, the one that begins first wins
    rf"""
      (?P<block> ```.+?``` )
    | ` (?P<code> [^`]+ ) `
    | (?P<spoiler> \|\|.+?\|\| )
    | !? \[ (?P<label> (?: [^\[\]\n] | {_NESTED} )++ ) \] {MARKDOWN_TARGET}
    | (?P<address> {ADDRESS} )
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
_ADDRESS = re.compile(ADDRESS, re.VERBOSE | re.IGNORECASE)

_MENTION = re.compile(r"<(@[!&]?|#)([0-9]{1,20})>")
_COMMAND = re.compile(r"</([^<>:\n]{1,100}):[0-9]{1,20}>")
_CUSTOM_EMOJI = re.compile(r"<a?:([A-Za-z0-9_]{1,32}):[0-9]{1,20}>")
_EMOJI_RUN = re.compile(rf"({_CUSTOM_EMOJI.pattern})(?:\s*\1){{{MOST_REPEATS},}}")
_EMOJI_NAME = re.compile(r"(?<![\w:]):(?=\w*[A-Za-z])([A-Za-z0-9_]{2,32}):(?![\w:])")
"""How an emoji is shown where it can't be drawn."""
_TIMESTAMP = re.compile(r"<t:(-?[0-9]{1,13})(?::([A-Za-z]))?>")
_GUILD_PAGE = re.compile(r"<id:(customize|browse|guide|linked-roles)(?::[0-9]{1,20})?>")
_CONTROL_TOKEN = re.compile(r"<\|[^<>|\n]{0,60}\|>|</?(?:tts|think|tool)\w{0,60}>")

_TIMES = re.compile(r"(?<=[0-9])( ?)\*( ?)(?=[0-9])")
_ESCAPE = re.compile(r"\\(?=[!-/:-@\[-`{-~])")
_INITIAL = re.compile(r"(?<![^\W_])(?<!\*)(\*{1,3})([^\W\d_])\1(?=[^\W\d_])")
_MARK = re.compile(r"[|*`\\]")
_UNDERSCORE_IN_WORD = re.compile(r"(?<=[^\W_])_+(?=[^\W_])")
_STRIKE_OR_UNDERSCORE = re.compile(f"~(?:{REMOVED}*~)+|_")
_NAME_MARK = re.compile(r"[<>|*`\\~_#@\[\]()/:\n]+")
_SPOILER_MARK = re.compile(r"\|+")

_LONGEST_NAME = 40


class MentionKind(StrEnum):
    """What a mention in a message points to."""

    USER = "user"
    ROLE = "role"
    CHANNEL = "channel"


NameOf = Callable[[MentionKind, int], str | None]
"""Returns the name for a mention, given its kind and Discord id. None if it is not known."""

_MENTION_KINDS = {
    "@": MentionKind.USER,
    "@!": MentionKind.USER,
    "@&": MentionKind.ROLE,
    "#": MentionKind.CHANNEL,
}
_UNKNOWN_NAMES = {
    MentionKind.USER: "someone",
    MentionKind.ROLE: "some role",
    MentionKind.CHANNEL: "some channel",
}
_SHOWN_BEFORE_NAME = {MentionKind.USER: "@", MentionKind.ROLE: "@", MentionKind.CHANNEL: "#"}
_GUILD_PAGES = {
    "customize": "Channels and Roles",
    "browse": "Browse Channels",
    "guide": "Server Guide",
    "linked-roles": "Linked Roles",
}


def as_heard(text: str, *, name_of: NameOf) -> str:
    """Replace markup with words, and remove markup that only formats.

    The result has no `|` and no backtick, and a `<` only before a space or a number. So it cannot
    contain a control token of a model, even if tokens were nested.

    Args:
        text: A result of `readable`.
        name_of: Returns the names for mentions.
    """
    text = mark_silences(_as_shown(text), otherwise=REMOVED)
    text = _MENTION.sub(lambda mention: _apart(_name(mention, name_of)), text)
    text = _COMMAND.sub(lambda command: _apart(f"slash {command[1]}"), text)
    text = _EMOJI_RUN.sub(lambda run: run[1] * MOST_REPEATS, text)
    text = _CUSTOM_EMOJI.sub(lambda emoji: _apart(emoji[1]), text)
    text = _EMOJI_NAME.sub(lambda emoji: _apart(emoji[1]), text)
    text = _TIMESTAMP.sub(lambda time: _apart(_moment(int(time[1]), time[2])), text)
    text = _GUILD_PAGE.sub(lambda page: _apart(_GUILD_PAGES[page[1]]), text)
    text = settled(without_smileys(settled(_without_marks(text)), removed=REMOVED))
    # Addresses may only show up once the formatting marks in them are removed, as in "www**.x.y".
    return settled(_ADDRESS.sub(lambda address: _link(address[0]), text))


def with_names(text: str, *, name_of: NameOf) -> str:
    """Replace mentions, custom emoji and times with what Discord would show for them.

    Everything else stays as typed, so the result still has to be escaped where it is shown.

    Args:
        text: As typed.
        name_of: Returns the names for mentions.
    """
    text = _MENTION.sub(lambda mention: _shown_name(mention, name_of), text)
    text = _COMMAND.sub(lambda command: f"/{command[1]}", text)
    text = _CUSTOM_EMOJI.sub(lambda emoji: f":{emoji[1]}:", text)
    text = _TIMESTAMP.sub(lambda time: _moment(int(time[1]), time[2]), text)
    return _GUILD_PAGE.sub(lambda page: _GUILD_PAGES[page[1]], text)


def mentions(text: str) -> Iterator[tuple[MentionKind, int]]:
    """Yield the mentions in a text as typed, with their Discord ids."""
    for mention in _MENTION.finditer(text):
        yield _MENTION_KINDS[mention[1]], int(mention[2])


def _as_shown(text: str) -> str:
    return _SHOWN_OTHERWISE.sub(_show, text)


def _show(source: re.Match[str]) -> str:
    if source["block"]:
        return _apart("code")
    if source["spoiler"]:
        return _apart("spoiler")
    if source["address"]:
        return _link(source["address"])
    return _apart(source["code"] or _as_shown(source["label"]))


def _without_marks(text: str) -> str:
    text = without_hearts(_CONTROL_TOKEN.sub(REMOVED, text), removed=REMOVED)
    text = without_smileys(text, removed=REMOVED)
    text = _TIMES.sub("\\1\N{MULTIPLICATION SIGN}\\2", _ESCAPE.sub("", text))
    text = _INITIAL.sub(r"\2", text)  # the **H** of **H**ello
    text = without_angles(_MARK.sub(REMOVED, text), removed=REMOVED)
    return _STRIKE_OR_UNDERSCORE.sub(REMOVED, _UNDERSCORE_IN_WORD.sub(" ", text))


def _apart(words: str) -> str:
    """Words that do not merge with the text around them."""
    return f"{REMOVED}{words}{REMOVED}"


def _link(address: str) -> str:
    words, rest = spoken_address(address)
    return _apart(words) + rest


def _name(mention: re.Match[str], name_of: NameOf) -> str:
    kind = _MENTION_KINDS[mention[1]]
    found = name_of(kind, int(mention[2])) or ""
    name = settled(_NAME_MARK.sub(" ", readable(found[:_LONGEST_NAME]))).strip()
    return name if has_words(name) else _UNKNOWN_NAMES[kind]


def _shown_name(mention: re.Match[str], name_of: NameOf) -> str:
    kind = _MENTION_KINDS[mention[1]]
    found = (name_of(kind, int(mention[2])) or "")[:_LONGEST_NAME]
    plain = "".join(filter(str.isprintable, _SPOILER_MARK.sub("", found))).strip()
    return f"{_SHOWN_BEFORE_NAME[kind]}{plain}" if plain else _UNKNOWN_NAMES[kind]


def _moment(seconds: int, style: str | None) -> str:
    """A time in digits, which can be spoken in every language."""
    try:
        moment = datetime.fromtimestamp(0, UTC) + timedelta(seconds=seconds)
    except OverflowError:
        return ""
    date, time = moment.date().isoformat(), f"{moment:%H:%M} UTC"
    if style in {"t", "T"}:
        return time
    return date if style in {"d", "D"} else f"{date} {time}"
