"""Which characters can be spoken, and which properties they have."""

from __future__ import annotations

import re
import unicodedata

_LINE_BREAK = re.compile("\r\n?|[\v\f\x85\u2028\u2029]")
_VARIATION = re.compile("[\u20dd-\u20e4\ufe00-\ufe0f\U000e0100-\U000e01ef]")
"""Variation selectors and enclosing marks, which change how the character before them looks."""

_STYLED = re.compile("[\uff10-\uff19\uff21-\uff3a\uff41-\uff5a\uff66-\uff9f\U0001d400-\U0001d7ff]+")
"""Fullwidth Latin, halfwidth kana and mathematical letters, which are spoken like plain letters."""

_PILED_ACCENTS = re.compile(
    "([\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\ufe20-\ufe2f]{2})"
    "[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\ufe20-\ufe2f]+"
)


def readable(text: str) -> str:
    """Remove invisible characters and emoji, and replace styled letters with plain ones.

    NFKC is applied to some letters only, because it would also change how punctuation and units are
    spoken.
    """
    text = _VARIATION.sub("", _LINE_BREAK.sub("\n", text))
    text = "".join(map(_readable_character, text))
    return composed(_STYLED.sub(lambda styled: unicodedata.normalize("NFKC", styled[0]), text))


def composed(text: str) -> str:
    """Compose letters with their accents (NFC), and keep at most two accents on one letter."""
    return _PILED_ACCENTS.sub(r"\1", unicodedata.normalize("NFC", text))


def has_words(text: str) -> bool:
    """Whether a text has anything to speak: a letter or a digit."""
    return any(map(str.isalnum, text))


def is_wide(character: str) -> bool:
    """Whether a character is as wide as a Chinese one. Most of these are a syllable or more."""
    return unicodedata.east_asian_width(character) in {"W", "F"}


def continues_letter(character: str) -> bool:
    """Whether a character belongs to the letter before it, as a combining accent does."""
    return unicodedata.category(character).startswith("M")


def _readable_character(character: str) -> str:
    if character.isspace():
        return "\n" if character == "\n" else " "
    if not character.isprintable():
        return ""
    # Emoji are symbols ("So") or skin tones ("Sk"). Symbols outside of these ranges are spoken.
    pictorial = "\u2190" <= character <= "\u2bff" or character >= "\U0001f000"
    return "" if pictorial and unicodedata.category(character) in {"So", "Sk"} else character
