"""End marks: every sentence and every transcript gets one.

Without it, models swallow or repeat the ending of a sentence. And a prompt has a transcript's
tokens and then the text's, with nothing between them, as the package joins them. So the model would
read "… time to dryGood morning".
"""

# ruff: noqa: RUF001 - the punctuation of many scripts
from __future__ import annotations

import unicodedata

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
PAUSING_MARKS = ",;:-–—~،؛、，；：・"


def ended(text: str) -> str:
    """Return a text with an end mark, that of the script it ends in; as it is if it has one.

    A comma, dash or space at its end gives way to it.
    """
    if last_mark(text) in _end_marks(text):
        return text
    words = text.rstrip(PAUSING_MARKS + " ")
    return words if last_mark(words) in _end_marks(words) else words + _full_stop(words)


def last_mark(text: str) -> str:
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
