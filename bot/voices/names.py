"""Which names a voice may have, and when two names are the same."""

from __future__ import annotations

import unicodedata

from bot.errors import Reason, Refusal

MAX_NAME_CHARACTERS = 32

MAX_KEY_CHARACTERS = 32 * 18
"""No character is longer than this when it is decomposed, as `name_key` does."""

_INVISIBLE_CATEGORIES = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}
"""Unicode's control, format (bidi, zero-width), unassigned and line-breaking characters."""

_BLANK_LETTERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Fillers and joiners. Their categories are letters, marks and symbols, but they are invisible."""

_ZERO_WIDTH_JOINER = "\u200d"
_NEWEST_EMOJI = range(0x1F000, 0x1FB00)
"""The range in which Unicode adds emoji. Python 3.11 has Unicode 14, without newer emoji."""


def clean_voice_name(typed: str) -> str:
    """Return the name to store, trimmed. Raises a `Refusal` with the reason if it is not valid."""
    name = typed.strip()
    if not name:
        raise Refusal(Reason.NAME_EMPTY)
    if len(name) > MAX_NAME_CHARACTERS:
        raise Refusal(Reason.NAME_TOO_LONG, limit=MAX_NAME_CHARACTERS)
    if _hides_something(name):
        raise Refusal(Reason.NAME_HIDES_CHARACTERS)
    if not any(_is_visible(character) for character in name):
        raise Refusal(Reason.NAME_INVISIBLE)
    return name


def name_key(name: str) -> str:
    """Return a key that is equal for names which differ only in case, width and spacing.

    The name is decomposed before its case is folded. So every upper- and lower-case spelling has
    the same key, except for the dotless Turkish i.
    """
    folded = unicodedata.normalize("NFKD", name).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())


def lookup_key(typed: str) -> str | None:
    """Return the key to look a typed name up by, or None if no voice can have such a name."""
    name = typed.strip()
    return None if _hides_something(name) else name_key(name)


def search_key(typed: str) -> str | None:
    """Return the key of a part of a name, or None if no key can contain it."""
    part = name_key(typed)
    # A database takes neither; what else no name has is simply not found.
    has_no_place = "\0" in part or any(unicodedata.category(each) == "Cs" for each in part)
    return None if has_no_place or len(part) > MAX_KEY_CHARACTERS else part


def _hides_something(name: str) -> bool:
    """Whether the name holds an invisible character, which could mislead a reader."""
    return any(
        character in _BLANK_LETTERS
        or (
            unicodedata.category(character) in _INVISIBLE_CATEGORIES
            and ord(character) not in _NEWEST_EMOJI
            and not _joins_emoji(name, position)
        )
        for position, character in enumerate(name)
    )


def _joins_emoji(name: str, position: int) -> bool:
    """Whether this character joins two emoji into one, as in a family or a profession."""
    if name[position] != _ZERO_WIDTH_JOINER or position in {0, len(name) - 1}:
        return False
    before, after = name[position - 1], name[position + 1]
    return _is_emoji_part(before) and _is_emoji_part(after)


def _is_emoji_part(character: str) -> bool:
    """Whether this is a pictograph, a skin tone, or the selector that colours a pictograph."""
    return (
        unicodedata.category(character) == "So"
        or ord(character) in _NEWEST_EMOJI
        or character == "\N{VARIATION SELECTOR-16}"
    )


def _is_visible(character: str) -> bool:
    """Whether the character is visible on its own, unlike a space or a combining mark."""
    return unicodedata.category(character)[0] in "LNPS" or ord(character) in _NEWEST_EMOJI
