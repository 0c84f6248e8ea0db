"""An event loop whose time passes at once: whoever sleeps is woken without waiting."""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, Any, TypeVar
from unittest.mock import patch

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


class _Selector(selectors.SelectSelector):
    """Instead of waiting, it moves the time on."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        self.now += max(0.0, timeout or 0.0)
        return super().select(0)


def run_virtually(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end; `time.monotonic` and `time.perf_counter` are the loop's time.

    Where something has kept `time.monotonic` before, as a default, it is given the loop's instead.
    """
    selector = _Selector()
    loop = asyncio.SelectorEventLoop(selector)

    def now() -> float:
        return selector.now

    loop.time = now  # type: ignore[method-assign]
    with (
        patch("time.perf_counter", now),
        patch("time.monotonic", now),
        asyncio.Runner(loop_factory=lambda: loop) as runner,
    ):
        return runner.run(work)
