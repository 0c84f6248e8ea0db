"""Shortens what is repeated too often: letters, syllables, words and phrases."""

from __future__ import annotations

import re

from backend.end_marks import END_MARKS

MOST_REPEATS = 5
"""How often in a row something is said."""

_LONGEST_SYLLABLES = 20  # in letters
_LONGEST_PHRASE = 4  # in words

_RUN = re.compile(
    rf"(?P<unit>[^\s0-9]|\S{{2,{_LONGEST_SYLLABLES}}}?)(?P=unit){{{MOST_REPEATS},}}", re.IGNORECASE
)
_LETTER = re.compile(r"[^\W\d_]")
_WORD = re.compile(r"(\s*)(\S+)")
_PUNCTUATION = re.compile(r"[\W_]+")
_SENTENCE_END = re.compile(rf"[{re.escape(END_MARKS)}]\W*\Z")


def without_long_runs(line: str) -> str:
    """Shorten repeated letters and syllables, as in "nooooooo" and "hahahahahaha".

    Numbers stay as they are. Capitals count as small letters.
    """
    while (shorter := _RUN.sub(_shortened, line)) != line:
        line = shorter
    return line


def without_long_refrains(text: str) -> str:
    """Shorten repeated words and phrases, as in "no no no no no no". Punctuation does not count.

    What is repeated is a word or a phrase of at most four, and not only numbers. Sentences of
    several words may be repeated as often as somebody likes.
    """
    words: list[tuple[str, str]] = _WORD.findall(text)
    while True:
        shorter = _without_long_refrains(words)
        if len(shorter) == len(words):
            return "".join(space + word for space, word in words)
        words = shorter


def _shortened(run: re.Match[str]) -> str:
    unit: str = run["unit"]
    if any(map(str.isdecimal, unit)) and not _LETTER.search(unit):
        return run[0]
    return run[0][: MOST_REPEATS * len(unit)]


def _without_long_refrains(words: list[tuple[str, str]]) -> list[tuple[str, str]]:
    plain = [_PUNCTUATION.sub("", word.casefold()) or word for _, word in words]
    ends = [_SENTENCE_END.search(word) is not None for _, word in words]
    kept: list[tuple[str, str]] = []
    at = 0
    while at < len(words):
        size, repeats = _refrain_at(plain, ends, at)
        last = at + (repeats - 1) * size  # the last one has the punctuation that follows
        if repeats > 1:
            kept += words[at : at + (MOST_REPEATS - 1) * size]
        kept += words[last : last + size]
        at = last + size
    return kept


def _refrain_at(words: list[str], ends: list[bool], at: int) -> tuple[int, int]:
    """How many words a phrase at an index has, and how often it comes, if that is too often.

    Otherwise one word, once. `ends` says which words end a sentence.
    """
    for size in range(1, _LONGEST_PHRASE + 1):
        if words[at : at + 1] != words[at + size : at + size + 1]:
            continue
        phrase = words[at : at + size]
        if not any(map(_LETTER.search, phrase)) or (size > 1 and any(ends[at : at + size])):
            continue
        end = at + size
        while words[end : end + size] == phrase:
            end += size
        repeats = (end - at) // size
        if repeats > MOST_REPEATS:
            return size, repeats
    return 1, 1
