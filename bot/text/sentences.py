"""Splits a text into sentences, each of which is one request to the model."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field, replace
from itertools import accumulate
from math import ceil
from typing import TYPE_CHECKING

from backend.end_marks import ended
from bot.text.boundaries import Boundaries
from bot.text.characters import continues_letter, has_words, is_wide
from bot.text.endings import room_for_end_mark
from bot.text.silences import between_silences

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_SENTENCE_CHARACTERS = 300
"""The longest sentence for one request. Wide characters count as three, because a Chinese character
takes about as long to speak as three Latin letters."""

SECONDS_PER_CHARACTER = 0.065
"""The pace of reading aloud, with pauses. It is used to estimate lengths before production."""

_WIDE_CHARACTER = 3
_SHORT_SENTENCE = 12

_SENTENCE_END = re.compile(r"(?:(?<=[^\W\d_]{4})\.|[!?…])[\"'”’»)\]]*(?=\s)")  # noqa: RUF001
"""An end that `Boundaries` may not cut at, because a small letter follows."""

_CLAUSE_END = re.compile(
    r"[,;:…)\]–—][\"'”’»]?(?=\s)|[、，；：…）」』】]"  # noqa: RUF001 - other scripts' punctuation
)
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Sentence:
    """The text of one request.

    Attributes:
        text: With at least one letter or digit, an end mark, and no spaces around it.
        ends_paragraph: Whether a longer pause follows.
        silence_before: The seconds of silence that were typed before it. Only the first sentence of
            a text has some.
        silence_after: The seconds of silence that were typed after it.
    """

    text: str = field(repr=False)
    ends_paragraph: bool
    silence_before: float = 0.0
    silence_after: float = 0.0


def split(
    text: str, *, language: str, max_characters: int = MAX_SENTENCE_CHARACTERS
) -> list[Sentence]:
    """Split a cleaned text into sentences, in order, with all of its letters and digits.

    Very short sentences are merged with a neighbour. Sentences that are too long are cut between
    clauses, else between words, else between characters. Nothing is merged across a typed pause.
    Every sentence gets an end mark.

    Args:
        text: A result of `clean`.
        language: One of `backend.contract.LANGUAGES`.
        max_characters: The longest sentence, at least 20; wide characters count as three.
    """
    boundaries = Boundaries(language, text)
    sentences: list[Sentence] = []
    silence_before = 0.0
    for paragraph in text.split("\n\n"):
        begun = len(sentences)
        for stretch, silence in between_silences(paragraph):
            pieces = [
                piece
                for sentence in boundaries.sentences(stretch)
                for piece in _pieces(sentence, max_characters)
            ]
            sentences += [
                Sentence(ended(piece.strip()), ends_paragraph=False)
                for piece in _without_fragments(pieces, max_characters)
            ]
            if sentences:
                after = sentences[-1].silence_after + silence
                sentences[-1] = replace(sentences[-1], silence_after=after)
            else:
                silence_before += silence
        if len(sentences) > begun:
            sentences[-1] = replace(sentences[-1], ends_paragraph=True)
    if sentences:
        sentences[0] = replace(sentences[0], silence_before=silence_before)
    return sentences


def expected_seconds(sentences: Iterable[Sentence], *, speed: float = 1.0) -> float:
    """Return about how long the speech of some sentences will be, with the typed silence.

    Args:
        sentences: The sentences.
        speed: How many times as fast as usual they will be heard.
    """
    sentences = list(sentences)
    return spoken_seconds(sentences) / speed + typed_silence(sentences)


def spoken_seconds(sentences: Iterable[Sentence]) -> float:
    """Return about how long the speech of some sentences will be, without the typed silence."""
    characters = sum(_length(sentence.text) for sentence in sentences)
    return characters * SECONDS_PER_CHARACTER


def typed_silence(sentences: Iterable[Sentence]) -> float:
    """Return the seconds of silence that were typed before, between and after sentences."""
    return sum(sentence.silence_before + sentence.silence_after for sentence in sentences)


def _pieces(sentence: str, limit: int) -> Iterator[str]:
    """Cut a sentence into pieces of similar length, none over `limit` with its end mark."""
    if not has_words(sentence) or _length(ended(sentence.strip())) <= limit:
        yield sentence
        return
    limit -= room_for_end_mark(sentence)
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
    """Return the best index to cut at: after a sentence, a clause, a word, else before a letter."""
    for pattern in (_SENTENCE_END, _CLAUSE_END, _SPACE):
        ends = [found.end() for found in pattern.finditer(text, earliest, latest)]
        if ends:
            return min(ends, key=lambda end: abs(end - wanted))
    letters = (index for index in range(wanted, earliest, -1) if not continues_letter(text[index]))
    return next(letters, wanted)


def _without_fragments(pieces: list[str], limit: int) -> list[str]:
    """Merge pieces that are too short to sound natural with a neighbour, mostly the next one.

    Pieces without a letter or digit are dropped where they fit no neighbour.
    """
    joined: list[str] = []
    for piece in filter(str.strip, pieces):
        if joined and _is_short(joined[-1]) and _fits(joined[-1] + piece, limit):
            joined[-1] += piece
        else:
            joined.append(piece)
    if len(joined) > 1 and _is_short(joined[-1]) and _fits("".join(joined[-2:]), limit):
        joined[-2:] = ["".join(joined[-2:])]
    return list(filter(has_words, joined))


def _fits(text: str, limit: int) -> bool:
    return not has_words(text) or _length(ended(text.strip())) <= limit


def _is_short(text: str) -> bool:
    return _length(text.strip()) < _SHORT_SENTENCE


def _length(text: str) -> int:
    return sum(map(_length_of, text))


def _length_of(character: str) -> int:
    return _WIDE_CHARACTER if is_wide(character) else 1
