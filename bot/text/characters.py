"""Which characters can be spoken, which properties they have, and what is left of those removed."""

from __future__ import annotations

import re
import unicodedata

from bot.text.letters import PICTURES, plain_letters
from bot.text.silences import is_silence

REMOVED = "\N{OBJECT REPLACEMENT CHARACTER}"
"""Stands where something was removed until `settled` decides whether a space is left there."""

_LINE_BREAK = re.compile("\r\n?|[\v\f\x85\u2028\u2029]")
_KEYCAP = re.compile("([0-9#*])\ufe0f?\u20e3")
_VARIATION = re.compile("[\u20dd-\u20e4\ufe00-\ufe0f\U000e0100-\U000e01ef]")
"""Variation selectors and enclosing marks, which change how the character before them looks."""

_DECORATION = re.compile(
    "[\u0305\u030d\u030e\u0310\u0312-\u031a\u031c-\u0322\u0329-\u032c\u032f\u0332-\u0357\u0359-\u036f"
    "\u0488\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20f0\ufe20-\ufe2f]"
)
"""Marks under, over and through letters that no language of today puts there, as far as they do not
compose with a letter."""

_ACCENTS = "\u0300-\u036f"
_PILED_ACCENTS = re.compile(f"([{_ACCENTS}]{{2}})[{_ACCENTS}]+")

_GAP = re.compile(f" *{REMOVED}[ {REMOVED}]*")
_GAP_REACH = 20
_NUMBER_BEFORE = re.compile(r"\d[^\w\s]*\Z")
_NUMBER_AFTER = re.compile(r"[^\w\s]*\d")
_OPENING = "\"'([{#@$€£/-–—“„‘«¿¡"  # noqa: RUF001
_NO_SPACE_BEFORE = ",.;:!?)]}'\N{RIGHT SINGLE QUOTATION MARK}\N{HORIZONTAL ELLIPSIS}"


def readable(text: str) -> str:
    """Remove invisible characters, and replace decorated letters with plain ones.

    Emoji and other pictures are replaced with `REMOVED`.
    """
    text = _LINE_BREAK.sub("\n", text)
    text = plain_letters(_KEYCAP.sub(_in_keycap, text), around_number=REMOVED)
    return composed("".join(map(_readable_character, _VARIATION.sub("", text))))


def settled(text: str) -> str:
    """Resolve each `REMOVED`: a space is left between letters or digits, so that they never merge.

    Numbers are also kept apart if there is punctuation between them. Elsewhere nothing is left.
    """
    return _GAP.sub(_gap, text)


def composed(text: str) -> str:
    """Compose letters with their accents (NFC), and keep at most two accents on one letter.

    Marks that only decorate letters are removed.
    """
    text = _DECORATION.sub("", unicodedata.normalize("NFC", text))
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


def _in_keycap(keycap: re.Match[str]) -> str:
    return f"{REMOVED}{keycap[1]}{REMOVED}" if keycap[1].isdigit() else REMOVED


def _readable_character(character: str) -> str:
    if character.isspace():
        return "\n" if character == "\n" else " "
    if is_silence(character):
        return character
    category = unicodedata.category(character)
    if not character.isprintable():
        return "" if category in {"Cc", "Cf"} else REMOVED  # unassigned, as the newest emoji
    # Emoji are symbols ("So") or skin tones ("Sk"). Symbols outside of these ranges are spoken.
    pictorial = "\u2190" <= character <= "\u2bff" or character >= "\U0001f000"
    pictorial = pictorial and category in {"So", "Sk"}
    return REMOVED if pictorial or ord(character) in PICTURES else character


def _gap(found: re.Match[str]) -> str:
    """What is left between two characters of what was removed between them."""
    text = found.string
    before = text[max(0, found.start() - _GAP_REACH) : found.start()]
    after = text[found.end() : found.end() + _GAP_REACH]
    if not before or not after or before[-1].isspace() or after[0].isspace():
        return ""
    if _NUMBER_BEFORE.search(before) and _NUMBER_AFTER.match(after):
        return " "
    if after[0] in _NO_SPACE_BEFORE:
        begins_word = after[1:2].isalnum() and " " in found[0]  # as in "all *.txt"
        return " " if begins_word or found[0].endswith(" ") else ""
    if " " in found[0]:
        return " "
    belongs_together = before[-1] in _OPENING or _is_wide_mark(before[-1])
    return " " if after[0].isalnum() and not belongs_together else ""


def _is_wide_mark(character: str) -> bool:
    """Whether a character is punctuation with a space of its own, as in Chinese."""
    return is_wide(character) and not character.isalnum()
