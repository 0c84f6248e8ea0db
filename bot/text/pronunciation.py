"""Replaces words by what should be said for them, as a pronunciation dictionary lists them.

Words are found whatever their case, and as whole words. Chinese, Japanese, Thai and a few other
scripts have no spaces, and Korean joins particles to words. There, a word is found anywhere.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from bot.text.characters import continues_letter, is_wide
from bot.text.cleaning import clean
from bot.text.silences import is_silence

if TYPE_CHECKING:
    from collections.abc import Mapping

_WITHOUT_SPACES = (
    ("\u0e00", "\u0eff"),  # Thai, Lao
    ("\u1000", "\u109f"),  # Myanmar
    ("\u1780", "\u17ff"),  # Khmer
)


_IN_NUMBER = re.compile("[0-9][.,:][0-9]")
_CONTRACTED = re.compile(r"(?<=[^\W_])'(?:t|m|d|re|ve|ll)(?![^\W_])")
_CONTRACTED_OR_S = re.compile(rf"{_CONTRACTED.pattern}|(?<=[^\W_])'s(?![^\W_])")
"""English endings: "don" is no word of "don't", but "GG" is one of "GG's"."""

_APOSTROPHES = "\N{RIGHT SINGLE QUOTATION MARK}\N{MODIFIER LETTER APOSTROPHE}\N{ACUTE ACCENT}"


def word_key(word: str) -> str:
    """Return a key that is equal for the spellings of a word, in lower or upper case.

    It has as many characters as the word in its composed form (NFC).
    """
    return "".join(map(_folded, unicodedata.normalize("NFC", word)))


def plain_words(typed: str) -> str:
    """Clean a word, or what is said for it, as texts are: on one line, and without pauses.

    Mentions have no names here. The result is "" if it has nothing to speak.
    """
    cleaned = clean(typed, name_of=lambda _kind, _snowflake: None)
    return " ".join("".join(" " if is_silence(each) else each for each in cleaned).split())


def replace_words(text: str, spoken: Mapping[str, str]) -> str:
    """Replace whole words, the longest first. What was put in is not looked at again.

    Args:
        text: A result of `clean`.
        spoken: What to say, by the `word_key` of each word.
    """
    if not spoken:
        return text
    lengths = sorted({len(key) for key in spoken if key}, reverse=True)
    folded = "".join(map(_folded, text))
    pieces: list[str] = []
    kept = at = 0
    while at < len(text):
        end = _end_of_word(folded, at, lengths, spoken) if _is_boundary(folded, at) else None
        if end is None:
            at += 1
            continue
        words = spoken[folded[at:end]]
        before, after = text[kept:at], text[end : end + 1]
        apart = (
            " " if _merge(text[at - 1 : at], words) else "",
            " " if _merge(words, after) else "",
        )
        pieces += [before, apart[0], words, apart[1]]
        kept = at = end
    return "".join([*pieces, text[kept:]])


def _merge(before: str, after: str) -> bool:
    """Whether two texts would be one word if nothing were between them."""
    return bool(before and after) and not _is_boundary(before[-1] + after[0], 1)


def _end_of_word(
    folded: str, start: int, lengths: list[int], spoken: Mapping[str, str]
) -> int | None:
    """Where the longest listed word ends that starts at an index, if there is one."""
    for length in lengths:
        end = start + length
        if folded[start:end] in spoken and end <= len(folded) and _is_boundary(folded, end):
            return end
    return None


def _is_boundary(text: str, index: int) -> bool:
    """Whether a word may begin or end before the character at an index of a text without case."""
    if index in {0, len(text)}:
        return True
    before, after = text[index - 1], text[index]
    if continues_letter(after):
        return False
    if _joins_without_spaces(before) or _joins_without_spaces(after):
        return True
    if _CONTRACTED.match(text, index) or _CONTRACTED_OR_S.match(text, index - 1):
        return False
    if _IN_NUMBER.match(text, max(0, index - 2)) or _IN_NUMBER.match(text, index - 1):
        return False
    return not (_is_in_word(before) and _is_in_word(after))


def _is_in_word(character: str) -> bool:
    return character.isalnum() or character == "_" or continues_letter(character)


def _joins_without_spaces(character: str) -> bool:
    return is_wide(character) or any(low <= character <= high for low, high in _WITHOUT_SPACES)


def _folded(character: str) -> str:
    """A character without its case, if that is one character as well. Apostrophes are alike."""
    if character in _APOSTROPHES:
        return "'"
    if character == "\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}":
        return "i"
    folded = character.casefold()
    if len(folded) != 1:
        folded = character.lower()
    return folded if len(folded) == 1 else character
