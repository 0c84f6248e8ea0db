"""How a line and a piece of a sentence end."""

from __future__ import annotations

from backend.end_marks import PAUSING_MARKS, ended, last_mark
from bot.text.characters import is_wide


def ended_line(line: str) -> str:
    """Return a line with an end mark, unless its last mark says that the sentence goes on.

    Args:
        line: It has a letter or digit, and no spaces around it.
    """
    return line if last_mark(line) in PAUSING_MARKS else ended(line)


def room_for_end_mark(text: str) -> int:
    """How many characters `ended` may add, if a wide one counts as three."""
    return 3 if any(map(is_wide, text)) else 1
