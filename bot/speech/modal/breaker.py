"""Stop asking a service that does not answer, and look again after a while."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from bot.speech.errors import BackendUnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable

FAILURES_BEFORE_PAUSE = 3
FIRST_PAUSE_SECONDS = 15.0
LONGEST_PAUSE_SECONDS = 120.0
SECONDS_TO_LOOK = 20.0


class Breaker:
    """A circuit breaker: closed while the service answers, open for a pause once it does not.

    After the pause one request is let through to look. If it fails the next pause is twice as long.

    Args:
        clock: Tells the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._pause = FIRST_PAUSE_SECONDS
        self._closed_until: float | None = None

    def check(self) -> None:
        """Return if a request may be made, or raise `BackendUnreachableError` that says when."""
        if self._closed_until is None:
            return
        now = self._clock()
        if now < self._closed_until:
            raise BackendUnreachableError(
                "the service did not answer several times in a row", self._closed_until - now
            )
        # This one goes to look. Should it never tell what it found, another may go after a while.
        self._closed_until = now + SECONDS_TO_LOOK

    def gave_up_looking(self) -> None:
        """A request that was let through has not waited for an answer: another may go at once."""
        if self._closed_until is not None:
            self._closed_until = self._clock()

    def reached(self) -> None:
        """The service's door answers, which does not mean yet that requests go well."""
        self._closed_until = None

    def succeeded(self) -> None:
        """A request has gone well."""
        self._failures = 0
        self._pause = FIRST_PAUSE_SECONDS
        self._closed_until = None

    def failed(self) -> None:
        """The service did not answer a request."""
        self._failures += 1
        if self._closed_until is not None:
            self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)
        if self._closed_until is not None or self._failures >= FAILURES_BEFORE_PAUSE:
            self._closed_until = self._clock() + self._pause
