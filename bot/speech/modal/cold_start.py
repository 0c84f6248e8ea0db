"""Cold starts of Modal's containers: detects them, and avoids them by keeping a container warm."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from time import monotonic
from typing import TYPE_CHECKING

import structlog

from backend.contract import SpeechError
from bot.speech.backend import ColdStart

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

log = structlog.get_logger(__name__)

USUAL_SECONDS = 40.0
"""The expected length of a cold start until one has been measured."""

WARM_SECONDS = 240.0
"""A container that answered this recently counts as running. Modal keeps an idle one for 300 s."""

PATIENCE_SECONDS = 8.0
"""A running container answers sooner than this. After it, a cold start is assumed."""

NOTICE_SECONDS = 2.0
"""The same if it is not known whether a container is running."""

PING_EVERY_SECONDS = 30.0
"""Well below the time after which Modal stops an idle container: 300 s, unless set otherwise."""

FAIL_WITHIN_SECONDS = 3.0

_REMEMBERED_STARTS = 20


class ColdStarts:
    """Tells whether a container is starting, and how long that usually takes.

    It learns this from the bot's own calls only, and forgets it when the bot restarts.

    Args:
        clock: Returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._answered_at: float | None = None
        self._waits: list[_Wait] = []
        self._starts: deque[float] = deque(maxlen=_REMEMBERED_STARTS)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Mark a call as waiting for a container's first answer while the block runs."""
        wait = _Wait(since=self._clock(), began_cold=not self.is_warm())
        self._waits.append(wait)
        try:
            yield
        finally:
            self._waits.remove(wait)

    def answered(self) -> None:
        """Record that a container has answered."""
        now = self._clock()
        cold = [wait.since for wait in self._waits if wait.began_cold]
        if cold and not self.is_warm() and now - min(cold) > PATIENCE_SECONDS:
            self._starts.append(now - min(cold))
        self._answered_at = now

    def lost(self) -> None:
        """Record that a container has died. It is then unknown whether another one is running."""
        self._answered_at = None

    def is_warm(self) -> bool:
        """Whether a container has answered recently."""
        return self._answered_at is not None and self._clock() - self._answered_at < WARM_SECONDS

    def cold_start(self) -> ColdStart | None:
        """Return how long a container has been starting, or None if none seems to be."""
        now = self._clock()
        answered_at = self._answered_at
        unanswered = [
            wait.since
            for wait in self._waits
            if (answered_at is None or answered_at < wait.since)
            and now - wait.since > (NOTICE_SECONDS if wait.began_cold else PATIENCE_SECONDS)
        ]
        if not unanswered:
            return None
        usual = median(self._starts) if self._starts else USUAL_SECONDS
        return ColdStart(seconds=now - min(unanswered), usual_seconds=usual)


@dataclass(frozen=True, slots=True, eq=False)
class _Wait:
    """One call that waits for its first answer."""

    since: float
    began_cold: bool


class KeepWarm:
    """Keeps a container running until a given time, by calling it regularly.

    Modal's own setting for this (`min_containers`) stays in effect if the bot crashes, and so do
    its costs. A container that gets no more calls is stopped by Modal.

    Args:
        ping: Calls a container, which starts one if none is running. Raises `SpeechError`.
    """

    def __init__(self, ping: Callable[[], Awaitable[object]]) -> None:
        self._ping = ping
        self._until = 0.0
        self._pinging: asyncio.Task[None] | None = None

    async def keep(self, seconds: float) -> float:
        """Keep a container running for at least this long from now; return for how many seconds.

        It never ends earlier than what was asked for before. Does not wait for a container to
        start. If the first call fails within `FAIL_WITHIN_SECONDS`, its `SpeechError` is raised.
        """
        self._until = max(self._until, monotonic() + seconds)
        if self._pinging is None or self._pinging.done():
            first = asyncio.create_task(self._failure())
            self._pinging = asyncio.create_task(self._ping_until_over(first))
            done, _ = await asyncio.wait({first}, timeout=FAIL_WITHIN_SECONDS)
            failure = first.result() if done else None
            if failure is not None:
                await self.close()
                self._until = 0.0
                raise failure
        return self._until - monotonic()

    async def close(self) -> None:
        """Stop the regular calls."""
        if self._pinging is not None:
            self._pinging.cancel()
            await asyncio.gather(self._pinging, return_exceptions=True)

    async def _ping_until_over(self, ping: asyncio.Task[SpeechError | None]) -> None:
        try:
            while True:
                failure = await ping
                if failure is not None:
                    log.warning("the voice engine could not be kept awake", reason=str(failure))
                await asyncio.sleep(PING_EVERY_SECONDS)
                if monotonic() >= self._until:
                    break
                ping = asyncio.create_task(self._failure())
        finally:
            ping.cancel()
            await asyncio.gather(ping, return_exceptions=True)
        log.info("the voice engine may sleep again")

    async def _failure(self) -> SpeechError | None:
        """Call the container; return the error if the call fails."""
        try:
            await self._ping()
        except SpeechError as error:
            return error
        return None
