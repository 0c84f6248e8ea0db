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

CLEAR_WITHIN_SECONDS = 3.0


class Warmth:
    """Asks a container until a time that is set last.

    Args:
        ask: Has a container answer, and starts one if none is up. Raises `SpeechError`.
    """

    def __init__(self, ask: Callable[[], Awaitable[object]]) -> None:
        self._ask = ask
        self._until = 0.0
        self._asking: asyncio.Task[None] | None = None

    async def keep(self, seconds: float) -> None:
        """Begin, or change how long it goes on; counts from now.

        A container may take a minute to start, which is not waited for. Raises `SpeechError` if it
        is clear within `CLEAR_WITHIN_SECONDS` that none does.
        """
        self._until = monotonic() + seconds
        if self._asking is None or self._asking.done():
            first = asyncio.create_task(self._ask_once())
            self._asking = asyncio.create_task(self._keep_asking(first))
            done, _ = await asyncio.wait({first}, timeout=CLEAR_WITHIN_SECONDS)
            error = first.result() if done else None
            if error is not None:
                await self.close()
                raise error

    async def close(self) -> None:
        """Stop asking."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    async def _keep_asking(self, asking: asyncio.Task[SpeechError | None]) -> None:
        try:
            while True:
                error = await asking
                if error is not None:
                    log.warning("the voice engine could not be kept awake", reason=str(error))
                await asyncio.sleep(ASK_EVERY_SECONDS)
                if monotonic() >= self._until:
                    break
                asking = asyncio.create_task(self._ask_once())
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        log.info("the voice engine may sleep again")

    async def _ask_once(self) -> SpeechError | None:
        """Ask; return what went wrong, if anything did."""
        try:
            await self._ask()
        except SpeechError as error:
            return error
        return None
