"""Removes typed smileys, whose characters a voice would read aloud."""

from __future__ import annotations

import re

_ALONE = r"(?<![^\s*~|(\"“>\ufffc])"
_BEHIND_WORD = r"(?<![^\s*~|(\"“>a-z\ufffc])"
_EYES = r"[:;]['’]?[-^]?"  # noqa: RUF001 - people type either
_SMILEY = re.compile(
    rf"""
    (?: {_BEHIND_WORD} {_EYES} (?: [()]{{1,20}} | [DPp] )
      | {_ALONE}
        (?: {_EYES} [\[\]oO3S/\\*|$]
          | =(?: [()]{{1,20}} | [DP] )
          | >[:;][()]{{1,20}}
          | \^_{{0,3}}\^ | [oO]_{{1,3}}[oO] | -_{{1,3}}- | [TQ]_{{1,3}}[TQ] | [xX]D{{1,20}}
        )
    )
    (?![^\s*~|)\"”<.,!?\ufffc])
    """,
    re.VERBOSE,
)


_WORD_BEFORE = re.compile(r"[\w.!?)\"”][ ]{0,20}\Z")
_REACH = 24


def without_smileys(text: str, *, removed: str) -> str:
    """Replace smileys such as `:-)` and `:D` that stand alone or behind a word.

    What is left of a text has no smileys that were apart before, as in `: :) )`.
    """

    def replacement(smiley: re.Match[str]) -> str:
        before = text[max(0, smiley.start() - _REACH) : smiley.start()]
        return removed if _WORD_BEFORE.search(before) else " "

    return _SMILEY.sub(replacement, text)
