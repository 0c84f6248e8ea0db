"""End marks: every sentence gets one, because models swallow or repeat an ending without it."""

# ruff: noqa: RUF001 - the punctuation of many scripts
from __future__ import annotations

import unicodedata

from bot.text.characters import is_wide

END_MARKS = ".!?…‥‽‼⁇⁈⁉。！？｡．؟۔।॥։።፧፨။។៕"
"""What ends a sentence in the scripts of the world; a Greek `;` does, too."""

CLOSING_MARKS = "\"'”’»›)]}」』】）］〉》〕"
"""Quotes and brackets that may follow an end mark."""

_FULL_STOP = "."
_FULL_STOPS = {
    "DEVANAGARI": "।",
    "BENGALI": "।",
    "GURMUKHI": "।",
    "ORIYA": "।",
    "ARMENIAN": "։",
    "ETHIOPIC": "።",
    "MYANMAR": "။",
    "KHMER": "។",
}
_WIDE_FULL_STOP = "。"
_WITH_WIDE_FULL_STOP = {"CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "IDEOGRAPHIC"}
"""The last two are those of ー and 々."""

_GREEK_QUESTION_MARK = ";"
_PAUSING_MARKS = ",;:-–—~،؛、，；：・"


def ended(sentence: str) -> str:
    """Return a sentence with an end mark. A comma or dash at its end gives way to it.

    Args:
        sentence: It has a letter or digit, and no spaces around it.
    """
    if _last_mark(sentence) in _end_marks(sentence):
        return sentence
    words = sentence.rstrip(_PAUSING_MARKS + " ")
    return words if _last_mark(words) in _end_marks(words) else words + _full_stop(words)


def ended_line(line: str) -> str:
    """Return a line with an end mark, unless its last mark says that the sentence goes on.

    Args:
        line: It has a letter or digit, and no spaces around it.
    """
    return line if _last_mark(line) in _PAUSING_MARKS else ended(line)


def room_for_end_mark(text: str) -> int:
    """How many characters `ended` may add, if a wide one counts as three."""
    return 3 if any(map(is_wide, text)) else 1


def _last_mark(text: str) -> str:
    """The last character before closing quotes and brackets, or a space if there is none."""
    return text.rstrip(CLOSING_MARKS + " ")[-1:] or " "


def _end_marks(text: str) -> str:
    is_greek = _script_of_last_letter(text) == "GREEK"
    return END_MARKS + _GREEK_QUESTION_MARK if is_greek else END_MARKS


def _full_stop(text: str) -> str:
    """The full stop of the script that a text ends in."""
    script = _script_of_last_letter(text)
    if script in _WITH_WIDE_FULL_STOP:
        return _WIDE_FULL_STOP
    return _FULL_STOPS.get(script, _FULL_STOP)


def _script_of_last_letter(text: str) -> str:
    letter = next(filter(str.isalpha, reversed(text)), "")
    return unicodedata.name(letter, "").partition(" ")[0] if letter else ""
