"""Replaces words by what should be said for them, as a pronunciation dictionary lists them.

Words are found whatever their case, and as whole words. Chinese, Japanese, Thai and a few other
scripts have no spaces, and Korean joins particles to words. There, a word is found anywhere.
"""

from __future__ import annotations

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


def word_key(word: str) -> str:
    """Return a key that is equal for the spellings of a word in lower and upper case.

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
        end = _end_of_word(folded, at, lengths, spoken) if _is_boundary(text, at) else None
        if end is None:
            at += 1
            continue
        pieces += [text[kept:at], spoken[folded[at:end]]]
        kept = at = end
    return "".join([*pieces, text[kept:]])


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
    """Whether a word may begin or end before the character at an index."""
    if index in {0, len(text)}:
        return True
    before, after = text[index - 1], text[index]
    if continues_letter(after):
        return False
    if _joins_without_spaces(before) or _joins_without_spaces(after):
        return True
    return not (_is_in_word(before) and _is_in_word(after))


def _is_in_word(character: str) -> bool:
    return character.isalnum() or character == "_" or continues_letter(character)


def _joins_without_spaces(character: str) -> bool:
    return is_wide(character) or any(low <= character <= high for low, high in _WITHOUT_SPACES)


def _folded(character: str) -> str:
    """A character without its case, if that is one character as well."""
    folded = character.casefold()
    if len(folded) != 1:
        folded = character.lower()
    return folded if len(folded) == 1 else character
