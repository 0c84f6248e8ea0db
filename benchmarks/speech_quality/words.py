"""Compares texts: word errors, syllables, and the repetition of a reference's last words."""

from __future__ import annotations

import re
import unicodedata
from itertools import groupby
from typing import TYPE_CHECKING

from rapidfuzz.distance import LCSseq, Levenshtein

if TYPE_CHECKING:
    from collections.abc import Sequence

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_VOWELS = frozenset("aeiouyœæøаеиоуыэюя")  # noqa: RUF001 - Cyrillic is meant
_UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL")
"""Scripts of which each letter counts as a word, and as a syllable. (Korean is written with spaces,
but not always with the same ones.)"""

_TAIL_WORDS = 8
_FEWEST_ECHOED_LETTERS = 4


def split_words(text: str) -> list[str]:
    """Split a text into words, without case, punctuation and the shape of apostrophes."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    plain = plain.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    words: list[str] = []
    for word in _WORD.findall(plain):
        for alone, group in groupby(word, _stands_alone):
            letters = list(group)
            words += letters if alone else ["".join(letters)]
    return words


def count_word_errors(text: str, heard: str) -> int:
    """Count the words to replace, insert or delete to turn what was heard into the text."""
    return Levenshtein.distance(split_words(text), split_words(heard))


def count_syllables(text: str) -> int:
    """Estimate how many syllables a text has: each group of vowels is one.

    A silent e counts, so English words have a few too many. Every word has at least one.
    """
    return sum(_syllables(word) for word in split_words(text))


def leading_words(text: str, heard: str) -> list[str]:
    """Return the words that were heard before the text began.

    These are the fewest words whose removal leaves the fewest word errors.
    """
    wanted, words = split_words(text), split_words(heard)
    errors = [Levenshtein.distance(wanted, words[start:]) for start in range(len(words) + 1)]
    return words[: errors.index(min(errors))]


def echoes(text: str, heard: str, transcript: str) -> bool:
    """Tell whether the speech begins with some of the reference's last words.

    The words in front of the text are compared with the last eight of the reference's transcript.
    An echo has at least four letters, in whole words and in their order; so "the" or "and" is
    none, and neither is a part of a word.
    """
    leading, tail = leading_words(text, heard), split_words(transcript)[-_TAIL_WORDS:]
    return _letters_in_common(leading, tail) >= _FEWEST_ECHOED_LETTERS


def _letters_in_common(leading: Sequence[str], tail: Sequence[str]) -> int:
    operations = LCSseq.opcodes(leading, tail)
    return sum(
        len(word)
        for operation in operations
        if operation.tag == "equal"
        for word in leading[operation.src_start : operation.src_end]
    )


def _stands_alone(letter: str) -> bool:
    return unicodedata.name(letter, "").startswith(_UNSPACED)


def _syllables(word: str) -> int:
    letters = [letter for letter in unicodedata.normalize("NFD", word) if letter.isalnum()]
    return max(1, sum(is_vowel for is_vowel, _ in groupby(letters, _VOWELS.__contains__)))
