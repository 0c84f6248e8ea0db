"""Splits a text into sentences, each of which is one request to the model."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from itertools import accumulate
from math import ceil
from typing import TYPE_CHECKING

import sentencex

from bot.text.characters import continues_letter, is_wide

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_SENTENCE_CHARACTERS = 300
"""The longest sentence for one request. Wide characters count as three, because a Chinese character
takes about as long to speak as three Latin letters."""

_WIDE_CHARACTER = 3
_SHORT_SENTENCE = 12

_CLAUSE_END = re.compile(
    r"[,;:…)\]–—][\"'”’»]?(?=\s)|[、，；：…）」』】]"  # noqa: RUF001 - other scripts' punctuation
)
_SPACE = re.compile(r"\s+")

_LANGUAGE_CODES = {
    "Chinese": "zh",
    "English": "en",
    "Japanese": "ja",
    "Korean": "ko",
    "German": "de",
    "French": "fr",
    "Russian": "ru",
    "Portuguese": "pt",
    "Spanish": "es",
    "Italian": "it",
}
_SCRIPTS = {  # in this order: Japanese has kana among its Chinese characters
    "ja": re.compile("[\u3041-\u30ff]"),
    "ko": re.compile("[\u1100-\u11ff\uac00-\ud7a3]"),
    "zh": re.compile("[\u3400-\u4dbf\u4e00-\u9fff]"),
    "ru": re.compile("[\u0400-\u04ff]"),
}


@dataclass(frozen=True, slots=True)
class Sentence:
    """The text of one request.

    Attributes:
        text: Never blank, and without spaces around it.
        ends_paragraph: Whether a longer pause follows.
    """

    text: str = field(repr=False)
    ends_paragraph: bool


def split(
    text: str, *, language: str, max_characters: int = MAX_SENTENCE_CHARACTERS
) -> list[Sentence]:
    """Split a cleaned text into sentences, in order. Only spaces are dropped.

    Very short sentences are merged with a neighbour. Sentences that are too long are cut between
    clauses, else between words, else between characters.

    Args:
        text: A result of `clean`.
        language: One of `backend.contract.LANGUAGES`.
        max_characters: The longest sentence, at least 20; wide characters count as three.
    """
    code = _LANGUAGE_CODES.get(language) or _guessed_language(text)
    sentences: list[Sentence] = []
    for paragraph in text.split("\n\n"):
        pieces = [
            piece
            for sentence in sentencex.segment(code, paragraph)
            for piece in _pieces(sentence, max_characters)
        ]
        spoken = _without_fragments(pieces, max_characters)
        sentences += [
            Sentence(piece.strip(), ends_paragraph=number == len(spoken))
            for number, piece in enumerate(spoken, start=1)
        ]
    return sentences


def _guessed_language(text: str) -> str:
    return next((code for code, script in _SCRIPTS.items() if script.search(text)), "en")


def _pieces(sentence: str, limit: int) -> Iterator[str]:
    """Cut a sentence into pieces of similar length, none over `limit`."""
    lengths = list(accumulate(map(_length_of, sentence), initial=0))
    start = 0
    while (rest := lengths[-1] - lengths[start]) > limit:
        even = rest / ceil(rest / limit)
        earliest = bisect_left(lengths, lengths[start] + even / 2)
        wanted = bisect_right(lengths, lengths[start] + even) - 1
        latest = bisect_right(lengths, lengths[start] + limit) - 1
        cut = _cut(sentence, earliest, wanted, latest)
        yield sentence[start:cut]
        start = cut
    yield sentence[start:]


def _cut(text: str, earliest: int, wanted: int, latest: int) -> int:
    """Return the best index to cut at: after a clause, else after a word, else before a letter."""
    for pattern in (_CLAUSE_END, _SPACE):
        ends = [found.end() for found in pattern.finditer(text, earliest, latest)]
        if ends:
            return min(ends, key=lambda end: abs(end - wanted))
    letters = (index for index in range(wanted, earliest, -1) if not continues_letter(text[index]))
    return next(letters, wanted)


def _without_fragments(pieces: list[str], limit: int) -> list[str]:
    """Merge pieces that are too short to sound natural with a neighbour, mostly the next one."""
    joined: list[str] = []
    for piece in filter(str.strip, pieces):
        if joined and _is_short(joined[-1]) and _length(joined[-1] + piece) <= limit:
            joined[-1] += piece
        else:
            joined.append(piece)
    if len(joined) > 1 and _is_short(joined[-1]) and _length("".join(joined[-2:])) <= limit:
        joined[-2:] = ["".join(joined[-2:])]
    return joined


def _is_short(text: str) -> bool:
    return _length(text.strip()) < _SHORT_SENTENCE


def _length(text: str) -> int:
    return sum(map(_length_of, text))


def _length_of(character: str) -> int:
    return _WIDE_CHARACTER if is_wide(character) else 1
