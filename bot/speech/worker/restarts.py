"""When a model's process may be started again, after one has failed."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from bot.speech.errors import BackendKeepsFailingError

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_PAUSE_SECONDS = 10.0
LONGEST_PAUSE_SECONDS = 300.0


class Restarts:
    """Allows another process at once after one failure, and after more of them with a pause.

    The pause begins with the failure. It doubles with each failure until a call succeeds.

    Args:
        clock: Returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._not_before = clock()

    def failed(self) -> None:
        """Count a process that failed to load its model, ended or hung."""
        self._failures += 1
        pause = 0.0
        if self._failures > 1:
            doublings = min(self._failures - 2, 30)  # a power of a larger number takes memory
            pause = min(FIRST_PAUSE_SECONDS * 2**doublings, LONGEST_PAUSE_SECONDS)
        self._not_before = self._clock() + pause

    def succeeded(self) -> None:
        """Forget all failures, because a call succeeded."""
        self._failures = 0

    def check(self) -> None:
        """Return if a process may be started now; otherwise raise `BackendKeepsFailingError`."""
        seconds_left = self._not_before - self._clock()
        if seconds_left > 0:
            raise BackendKeepsFailingError(self._failures, seconds_left)
