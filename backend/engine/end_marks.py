"""Ends a reference clip's transcript, so that the text after it does not run into it.

The prompt has the transcript's tokens and then the text's, with nothing between them. The package
joins them in the same way. So the model would read "… time to dryGood morning".
"""

# ruff: noqa: RUF001 - the punctuation of several scripts
from __future__ import annotations

import unicodedata

_END_MARKS = frozenset(".!?…‥‽⁇⁈⁉。！？｡．؟۔।॥")
_CLOSING_MARKS = "\"'”’»›)]}」』】）］〉》"
_PAUSING_MARKS = ",;:-–—~،؛、，；：・"
_WITH_WIDE_FULL_STOP = {"CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "IDEOGRAPHIC"}
"""The last two are those of ー and 々."""


def ended(transcript: str) -> str:
    """Return a transcript with an end mark; as it is if it has one.

    A comma or dash at its end gives way to a full stop, which is that of the script it ends in.
    """
    spoken = transcript.rstrip()
    if spoken.rstrip(_CLOSING_MARKS + " ")[-1:] in _END_MARKS:
        return transcript
    spoken = spoken.rstrip(_PAUSING_MARKS + " ")
    if spoken[-1:] in _END_MARKS:  # "etc.,"
        return spoken
    letter = next(filter(str.isalpha, reversed(spoken)), "")
    script = unicodedata.name(letter, "").partition(" ")[0] if letter else ""
    return spoken + ("。" if script in _WITH_WIDE_FULL_STOP else ".")
