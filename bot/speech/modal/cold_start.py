"""Tell whether a container is being started, and how long that usually takes."""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from statistics import median
from time import monotonic
from typing import TYPE_CHECKING

from bot.speech.backend import Waking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

USUAL_SECONDS = 40.0
"""What a start takes as far as anybody knows before the first one was seen."""

AWAKE_SECONDS = 240.0
"""A container that was heard so lately is taken to be up; Modal keeps an idle one for 300 s."""

PATIENCE_SECONDS = 8.0
"""A container that is up answers sooner; after this much silence one is taken to be starting."""

NOTICE_SECONDS = 2.0
"""A container that was up all along, and the bot did not know, answers sooner."""

_REMEMBERED_STARTS = 20


class Wakefulness:
    """What the bot has noticed of the containers. Forgotten when the bot restarts.

    Args:
        clock: Tells the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._heard_at: float | None = None
        self._waits: list[_Wait] = []
        self._starts: deque[float] = deque(maxlen=_REMEMBERED_STARTS)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count what runs in the block as waiting for a container's first sign of life."""
        wait = _Wait(since=self._clock(), began_asleep=not self.is_awake())
        self._waits.append(wait)
        try:
            yield
        finally:
            self._waits.remove(wait)

    def heard(self) -> None:
        """A container has shown a sign of life."""
        now = self._clock()
        asleep = [wait.since for wait in self._waits if wait.began_asleep]
        if asleep and not self.is_awake() and now - min(asleep) > PATIENCE_SECONDS:
            self._starts.append(now - min(asleep))
        self._heard_at = now

    def lost(self) -> None:
        """A container has died; whether there is another one is not known."""
        self._heard_at = None

    def is_awake(self) -> bool:
        """Whether a container was heard lately."""
        return self._heard_at is not None and self._clock() - self._heard_at < AWAKE_SECONDS

    def waking(self) -> Waking | None:
        """Say how long a container has been starting, or None if none seems to be."""
        now = self._clock()
        heard_at = self._heard_at
        silent = [
            wait.since
            for wait in self._waits
            if (heard_at is None or heard_at < wait.since)
            and now - wait.since > (NOTICE_SECONDS if wait.began_asleep else PATIENCE_SECONDS)
        ]
        if not silent:
            return None
        usual = median(self._starts) if self._starts else USUAL_SECONDS
        return Waking(seconds=now - min(silent), usual_seconds=usual)


class _Wait:
    """One call that waits for a sign of life."""

    def __init__(self, *, since: float, began_asleep: bool) -> None:
        self.since = since
        self.began_asleep = began_asleep
