"""A stand-in for the deployed class whose behaviour a test scripts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from bot.speech.modal.client import StreamBegins

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from bot.speech.modal.client import MethodCall

    Script = Callable[[], AsyncGenerator[Any, None]]


class FakeModal:
    """Stands in for `ModalService`: each call follows the next script.

    Attributes:
        scripts: What the next calls answer; the last script is used again and again.
        unreachable: What every look-up raises.
        fails_once: What the next look-up raises.
        calls: Every call, in order.
        cancelled: The ids of cancelled calls.
        lookups: How often the class was looked up.
    """

    def __init__(self, *scripts: Script) -> None:
        self.scripts = list(scripts)
        self.unreachable: Exception | None = None
        self.fails_once: Exception | None = None
        self.calls: list[MethodCall] = []
        self.cancelled: list[str] = []
        self.lookups = 0
        self.forgotten = False

    async def look_up(self, *, max_age: float) -> None:
        self.lookups += 1
        assert max_age >= 0
        failure, self.fails_once = self.fails_once or self.unreachable, None
        if failure is not None:
            raise failure

    def forget(self) -> None:
        self.forgotten = True

    async def stream(self, call: MethodCall) -> AsyncGenerator[Any, None]:
        self.calls.append(call)
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        async for item in script():
            yield item

    spawn = stream

    async def cancel(self, call_id: str) -> None:
        await asyncio.sleep(0)
        self.cancelled.append(call_id)

    async def close(self) -> None:
        return


def answers(*items: Any, call_id: str = "fc-1") -> Script:
    """A call that gives these items; it raises exceptions, and waits for events."""

    async def script() -> AsyncGenerator[Any, None]:
        yield StreamBegins(call_id)
        for item in items:
            if isinstance(item, Exception):
                raise item
            if isinstance(item, asyncio.Event):
                await item.wait()
            else:
                yield item

    return script


def fails(error: Exception) -> Script:
    """A call that Modal does not take."""

    async def script() -> AsyncGenerator[Any, None]:
        yield await _raise(error)

    return script


async def _raise(error: Exception) -> object:
    raise error


def waits(until: asyncio.Event, then: Script) -> Script:
    """A call that no container takes before the event."""

    async def script() -> AsyncGenerator[Any, None]:
        await until.wait()
        async for item in then():
            yield item

    return script
