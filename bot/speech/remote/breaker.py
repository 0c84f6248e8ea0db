"""The circuit breaker for calls to a service on other machines."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from bot.speech.errors import BackendUnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable

FAILURES_BEFORE_OPENING = 3
FIRST_PAUSE_SECONDS = 15.0
LONGEST_PAUSE_SECONDS = 120.0
PROBE_SECONDS = 20.0
"""If the outcome of a probe is never reported, the next request is allowed after this long."""


class CircuitBreaker:
    """Closed while the service answers; open for a pause after several failures in a row.

    After the pause one request is let through as a probe. If it fails, the breaker opens again and
    the pause doubles.

    Args:
        clock: Returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._pause = FIRST_PAUSE_SECONDS
        self._open_until: float | None = None

    def check(self) -> None:
        """Return if a request is allowed now.

        Otherwise raises `BackendUnreachableError` with the seconds to wait.
        """
        if self._open_until is None:
            return
        now = self._clock()
        if now < self._open_until:
            raise BackendUnreachableError(
                "the service did not answer several times in a row", self._open_until - now
            )
        self._open_until = now + PROBE_SECONDS  # this request is the probe

    def probe_cancelled(self) -> None:
        """Allow the next request, because the probe was cancelled before it got an answer."""
        if self._open_until is not None:
            self._open_until = self._clock()

    def reached(self) -> None:
        """Close, because the service answered. Earlier failures count until a request succeeds."""
        self._open_until = None

    def succeeded(self) -> None:
        """Close and forget earlier failures, because a request has succeeded."""
        self._failures = 0
        self._pause = FIRST_PAUSE_SECONDS
        self._open_until = None

    def failed(self) -> None:
        """Count a request without an answer, and open after several of them."""
        self._failures += 1
        if self._open_until is not None:
            self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)
        if self._open_until is not None or self._failures >= FAILURES_BEFORE_OPENING:
            self._open_until = self._clock() + self._pause
