"""Waiting for what has no event, or not only one."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

POLL_SECONDS = 0.02


async def until(condition: Callable[[], bool], *, within: float) -> bool:
    """Wait until a condition is true, for at most `within` seconds; return whether it is."""
    deadline = time.perf_counter() + within
    while not condition():
        if time.perf_counter() > deadline:
            return False
        await asyncio.sleep(POLL_SECONDS)
    return True


async def is_set(event: asyncio.Event, *, within: float) -> bool:
    """Wait until an event is set, for at most `within` seconds; return whether it is."""
    with suppress(TimeoutError):
        async with asyncio.timeout(within):
            await event.wait()
    return event.is_set()
