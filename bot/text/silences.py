"""Pauses that people type: `[pause]`, and `[pause 2s]` with a length.

In a cleaned text each is one character of a private use area, which says how long it is. So no
other step takes a pause for words.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

USUAL_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 5.0
MOST_PAUSES = 20
"""How many pauses one text may have. Further ones are left out."""

_TYPED = re.compile(
    r"""\[ [ ]{0,3} pause
        (?: [ :=]{0,3} (?P<number> [0-9]{1,4} (?: [.,][0-9]{1,4} )? | [.,][0-9]{1,4} )
            [ ]{0,3} (?P<unit> [^\W\d_]{1,12} )? [.]? )?
        [ ]{0,3} \] (?!\()""",
    re.VERBOSE | re.IGNORECASE,
)
_MILLISECONDS = ("ms", "mil", "мил", "мс")
_MINUTES = ("m", "м")
"""How their names begin in European languages. Any other unit counts as seconds."""

_TENTHS = round(10 * LONGEST_PAUSE_SECONDS)
_FIRST_MARK = 0x10FF00
_MARKS = f"{chr(_FIRST_MARK + 1)}-{chr(_FIRST_MARK + _TENTHS)}"
_MARK = re.compile(f"[{_MARKS}]")
_MARKS_AND_SPACES = re.compile(rf"\s*([{_MARKS}])\s*")


def mark_silences(text: str, *, otherwise: str) -> str:
    """Replace typed pauses with their marks, and those that are too short with `otherwise`."""

    def marked(typed: re.Match[str]) -> str:
        tenths = min(_TENTHS, round(10 * _seconds(typed)))
        return chr(_FIRST_MARK + tenths) if tenths else otherwise

    return _TYPED.sub(marked, text)


def limited_silences(text: str, *, otherwise: str) -> str:
    """Replace all but the first `MOST_PAUSES` marks with `otherwise`."""
    first = _MARK.finditer(text)
    end = next((mark.end() for number, mark in enumerate(first, 1) if number == MOST_PAUSES), None)
    return text if end is None else text[:end] + _MARK.sub(otherwise, text[end:])


def is_silence(character: str) -> bool:
    """Whether a character is the mark of a pause."""
    return _MARK.fullmatch(character) is not None


def only_silences(text: str) -> str:
    """Return the marks of a text, and nothing else."""
    return "".join(_MARK.findall(text))


def between_silences(text: str) -> Iterator[tuple[str, float]]:
    """Yield the stretches of a text, maybe empty ones, each with the seconds of pause after it."""
    *stretches, last = _MARKS_AND_SPACES.split(text)
    for stretch, mark in zip(stretches[::2], stretches[1::2], strict=True):
        yield stretch, (ord(mark) - _FIRST_MARK) / 10
    yield last, 0.0


def _seconds(typed: re.Match[str]) -> float:
    if typed["number"] is None:
        return USUAL_PAUSE_SECONDS
    number = float(typed["number"].replace(",", "."))
    unit = (typed["unit"] or "s").lower()
    if unit.startswith(_MILLISECONDS):
        return number / 1_000
    return 60 * number if unit.startswith(_MINUTES) else number
