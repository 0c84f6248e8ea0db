"""Keep a container up for a while, by asking it now and then how it is.

Modal's own setting for this (`min_containers`) would outlive a bot that crashes, and so would the
bill. A container that is not asked any more scales down by itself.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

import structlog

from backend.contract import SpeechError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = structlog.get_logger(__name__)

ASK_EVERY_SECONDS = 30.0
"""Well below the time after which an idle container is scaled down: 300 s, unless set otherwise."""


class Warmth:
    """Asks a container until a time that is set last.

    Args:
        ask: Has a container answer, and starts one if none is up. Raises `SpeechError`.
    """

    def __init__(self, ask: Callable[[], Awaitable[object]]) -> None:
        self._ask = ask
        self._until = 0.0
        self._asking: asyncio.Task[None] | None = None

    def keep(self, seconds: float) -> None:
        """Begin, or change how long it goes on; counts from now."""
        self._until = monotonic() + seconds
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._keep_asking())

    async def close(self) -> None:
        """Stop asking."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    async def _keep_asking(self) -> None:
        while monotonic() < self._until:
            try:
                await self._ask()
            except SpeechError as error:
                log.warning("the voice engine could not be kept awake", reason=str(error))
            await asyncio.sleep(ASK_EVERY_SECONDS)
        log.info("the voice engine may sleep again")
