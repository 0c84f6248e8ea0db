"""The voice servers of a simulated Discord, in one thread."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Self, TypeVar

from tests.support.voice_server.call import Call

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from types import TracebackType
    from typing import Any

Result = TypeVar("Result")


class VoiceRegion:
    """Serves any number of calls, one for each guild, independently of the bot's event loop.

    Attributes:
        calls: By guild id.
    """

    def __init__(self) -> None:
        self.calls: dict[int, Call] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="voice region", daemon=True)

    async def __aenter__(self) -> Self:
        self._thread.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for call in self.calls.values():
            await self.run(call.shut_down())
        self._loop.call_soon_threadsafe(self._loop.stop)
        await asyncio.to_thread(self._thread.join)

    async def open_call(self, guild_id: int, *, bot_id: int) -> Call:
        """Open a call with one listener."""
        call = Call(self, guild_id=guild_id, bot_id=bot_id)
        await self.run(call.open_address())
        self.calls[guild_id] = call
        return call

    async def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine in the server's thread, and wait for it from any other loop."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    def cpu_seconds(self) -> float:
        """The processor time that the server itself has used, which benchmarks subtract."""
        if self._thread.ident is None or not hasattr(time, "pthread_getcpuclockid"):
            return 0.0
        return time.clock_gettime(time.pthread_getcpuclockid(self._thread.ident))

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()
