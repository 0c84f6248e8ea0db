"""Whether a transcript that somebody gave plainly does not say what was heard.

Lenient on purpose: recognisers mishear, and people punctuate, spell and write numbers in their own
way. Compared are characters, not words, so that languages without spaces fare alike.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from enum import Enum
from typing import TYPE_CHECKING

from rapidfuzz.distance import Levenshtein

if TYPE_CHECKING:
    from backend.reference.transcriber import Transcription

_DIFFERENT = 0.55
"""Share of edits above which alphabetic texts differ. Misheard ones have 0.2, others 0.65."""

_DIFFERENT_IN_CHINESE_SCRIPT = 0.75
"""The same in Chinese or Japanese, where a sound has several spellings: another text has 0.85."""

_DIFFERENT_LENGTH = 0.4
"""A text of less than this share of the other one's length leaves something out."""

_LETTERS_OF_A_DIGIT = 8
"""What a digit may be written out in: "fourteen", "siebzehn"."""

_CHINESE = "CJK"
_SAME_AS = {"HIRAGANA": _CHINESE, "KATAKANA": _CHINESE}  # Japanese mixes all three

_FEWEST_LETTERS = 4
_SURE_OF_LANGUAGE = 0.8


class Verdict(Enum):
    """How a given transcript compares with what was heard. Only `DIFFERS` is worth a word."""

    MATCHES = "matches"
    DIFFERS = "differs"
    UNCERTAIN = "uncertain"


def compare(given: str, heard: Transcription) -> Verdict:
    """Compare a transcript that somebody gave with what was heard in the clip."""
    spoken, written = _letters(heard.text), _letters(given)
    if len(spoken) < _FEWEST_LETTERS:
        return Verdict.UNCERTAIN
    script, other = _script(spoken), _script(written)
    if script != other and script and other:
        return _in_different_scripts(written, heard)
    shorter, longer = sorted([spoken, written], key=len)
    spelled_out = _LETTERS_OF_A_DIGIT * sum(map(str.isdecimal, spoken + written))
    left_out = _DIFFERENT_LENGTH * len(longer) - len(shorter)
    edits = Levenshtein.distance(spoken, written) - spelled_out
    bearable = _DIFFERENT_IN_CHINESE_SCRIPT if script == _CHINESE else _DIFFERENT
    if edits > bearable * len(longer) or left_out > spelled_out:
        return Verdict.DIFFERS
    return Verdict.MATCHES


def _in_different_scripts(given: str, heard: Transcription) -> Verdict:
    """Tell a transcript of other speech from one that is written in another script."""
    # Many write Japanese or Russian in Latin letters; nobody writes English in theirs.
    is_transliteration = _script(given) == "LATIN"
    if is_transliteration or heard.language_confidence < _SURE_OF_LANGUAGE:
        return Verdict.UNCERTAIN
    return Verdict.DIFFERS


def _letters(text: str) -> str:
    """The letters and digits alone, without case and accents; Hangul as its single sounds."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return "".join(filter(str.isalnum, plain))


def _script(letters: str) -> str:
    """What most letters are written in, by their Unicode names; empty if there are only digits."""
    names = (unicodedata.name(letter, "") for letter in letters if not letter.isdecimal())
    first_words = (name.split(" ")[0] for name in names)
    scripts = Counter(_SAME_AS.get(word, word) for word in first_words)
    return max(scripts, key=scripts.__getitem__, default="")
