"""What of a source has been heard, as far as that can be known."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass

REPEATED_SECONDS = 1.6
"""At most this much is said again after an interruption. With the time between two notes, and what
was on its way, listeners hear at most 2 s twice."""

_REMEMBERED = 60


@dataclass(frozen=True, slots=True)
class Restart:
    """Where speech goes on after an interruption.

    Attributes:
        position: The source's position.
        is_complete: Nothing before that position is missing, as far as is known.
    """

    position: int
    is_complete: bool


class HeardRecord:
    """Remembers how far a source was at which time, while it is played over one connection."""

    def __init__(self) -> None:
        self._notes: deque[tuple[float, int]] = deque(maxlen=_REMEMBERED)

    def note(self, now: float, position: int) -> None:
        """Record the source's position at a moment when the connection worked."""
        self._notes.append((now, position))

    def restart(self, proven_until: float | None) -> Restart:
        """Return where to go on.

        Args:
            proven_until: Until when speech is known to have arrived, if there are doubts. None: up
                to the last note.
        """
        last, _ = self._notes[-1]
        known = last if proven_until is None else min(last, proven_until)
        earliest = last - REPEATED_SECONDS
        since = max(known, earliest)
        is_complete = known >= earliest or self._position_at(known) == self._position_at(since)
        return Restart(self._position_at(since), is_complete)

    def _position_at(self, moment: float) -> int:
        """The position at the last note until then; the first one's if there is none."""
        index = bisect_right(self._notes, moment, key=lambda note: note[0])
        return self._notes[max(0, index - 1)][1]
