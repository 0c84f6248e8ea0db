"""What a voice may be called, and when two names are the same."""

from __future__ import annotations

import unicodedata

from bot.errors import Refusal

MAX_NAME_CHARACTERS = 32

_INVISIBLE_CATEGORIES = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}
"""Unicode's control, format (bidi, zero-width), unassigned and line-breaking characters."""

_BLANK_LETTERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Letters, marks and symbols by category, but nothing is seen of them: fillers and joiners."""

_ZERO_WIDTH_JOINER = "\u200d"
_NEWEST_EMOJI = range(0x1F000, 0x1FB00)
"""Where Unicode adds emoji. Python 3.11 knows Unicode 14, so newer ones seem unassigned to it."""


def clean_voice_name(typed: str) -> str:
    """Return the name to store, trimmed; else raise the `Refusal` that says what is wrong."""
    name = typed.strip()
    if not name:
        raise Refusal("A voice needs a name. Type one that you will recognise later.")
    if len(name) > MAX_NAME_CHARACTERS:
        raise Refusal(
            f"That name is too long. Use at most {MAX_NAME_CHARACTERS} characters.",
        )
    if _hides_something(name):
        raise Refusal(
            "That name holds line breaks or invisible characters. "
            "Type it with letters, digits, spaces and emoji only.",
        )
    if not any(_is_visible(character) for character in name):
        raise Refusal("That name would look empty. Add a letter, a digit or an emoji.")
    return name


def name_key(name: str) -> str:
    """Return what is equal for two names that read the same: case, width and spacing set aside.

    Decomposing before the case is folded makes every upper- or lower-case spelling that Python
    knows come out the same, save for the dotless Turkish i.
    """
    folded = unicodedata.normalize("NFKD", name).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())


def lookup_key(typed: str) -> str | None:
    """Return the key to look a typed name up by, or None if no voice can have such a name."""
    name = typed.strip()
    return None if _hides_something(name) else name_key(name)


def _hides_something(name: str) -> bool:
    """Whether any character could mislead a reader by not being seen."""
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
    """Whether this is the joiner that makes one emoji of two, as in a family or a profession."""
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
    """Whether the character puts ink on its own: no space, no lone combining mark."""
    return unicodedata.category(character)[0] in "LNPS" or ord(character) in _NEWEST_EMOJI
