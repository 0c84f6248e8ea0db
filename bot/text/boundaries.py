"""Finds where sentences end."""

# ruff: noqa: RUF001 - the punctuation of many scripts
from __future__ import annotations

import re
from functools import reduce
from itertools import accumulate, pairwise

import sentencex

from backend.end_marks import CLOSING_MARKS, END_MARKS
from bot.text.characters import is_wide
from bot.text.languages import guess_language, language_code

_MARKS_OF_SPACED_SCRIPTS = ".!?…‥‽‼⁇⁈⁉"
_MARKS_WITHOUT_SPACE = frozenset(END_MARKS) - frozenset(_MARKS_OF_SPACED_SCRIPTS)
"""Marks that end a sentence even if no space follows."""

_OPENING_MARKS = "\"'“‘„«‹([{¿¡*-–—… "
_QUOTING = ("と", "って")
_ORDINAL = re.compile(r"(?<!\w)(?:[0-9]{1,3}|[IVXLC]{1,7})\.\s*\Z")
_LONGEST_ORDINAL = 12
_WITH_ORDINALS = {
    "bg", "cs", "da", "de", "et", "fi", "hr", "hu", "lv", "no", "pl", "sk", "sl", "sr", "tr",
}  # fmt: skip
"""Languages that write ordinals as numbers with a full stop, as in "24. Dezember"."""

_IF_UNSURE = ("en", "de", "fr", "es", "it", "pt", "ru")


class Boundaries:
    """Finds the sentences of texts in a language.

    Where the language is neither given nor certain, a sentence ends only where it would in each of
    the languages that the model speaks. So abbreviations of all of them are known. Where it was
    guessed, a sentence ends where it would in English, too. A sentence goes on where no space
    follows its mark, before a small letter, and after an ordinal or a word without a mark.

    Args:
        language: One of `backend.contract.LANGUAGES`.
        text: What to guess the language from, if it is not given.
    """

    def __init__(self, language: str, text: str) -> None:
        self._codes = _codes(language, text)
        self._has_ordinals = any(code in _WITH_ORDINALS for code in self._codes)

    def sentences(self, text: str) -> list[str]:
        """Split a text into sentences, each with the spaces that follow it."""
        found = reduce(set.intersection, (set(_ends(text, code)) for code in self._codes))
        ends = [end for end in sorted(found) if self._may_end(text, end)]
        return [text[start:end] for start, end in pairwise([0, *ends, len(text)])]

    def _may_end(self, text: str, end: int) -> bool:
        if not 0 < end < len(text):
            return False
        if not (text[end - 1].isspace() or text[end].isspace() or _needs_no_space(text, end)):
            return False
        if text[end:].lstrip(_OPENING_MARKS)[:1].islower() or _goes_on(text, end):
            return False
        before = text[max(0, end - _LONGEST_ORDINAL) : end]
        if before.rstrip()[-1:].isalnum():  # sentencex cuts before "24.) 24.)"
            return False
        return not (self._has_ordinals and _ORDINAL.search(before))


def _codes(language: str, text: str) -> tuple[str, ...]:
    """The codes of the languages whose rules have to agree."""
    if (code := language_code(language)) is not None:
        return (code,)
    guessed = guess_language(text)
    code = language_code(guessed) if guessed is not None else None
    return _IF_UNSURE if code is None else (code, "en")


def _ends(text: str, code: str) -> list[int]:
    return list(accumulate(map(len, sentencex.segment(code, text))))[:-1]


def _goes_on(text: str, end: int) -> bool:
    """Whether a quote is not closed yet, or a Japanese particle says whose words it was."""
    if text[end - 1].isspace():
        return False
    return text[end] in CLOSING_MARKS or (
        text[end - 1] in CLOSING_MARKS and text.startswith(_QUOTING, end)
    )


def _needs_no_space(text: str, end: int) -> bool:
    """Whether a sentence of a script without spaces ends here."""
    mark = text[:end].rstrip(CLOSING_MARKS)[-1:]
    return mark in _MARKS_WITHOUT_SPACE or is_wide(text[end])
