"""A bot that tests share, for tests that need no bot of their own."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from tests.support.discord_server import Server, open_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.support.scripted_backend import ScriptedBackend

SECONDS_TO_FINISH = 1.0


class SharedBot:
    """A bot that is used by one test after the other. Each has a server with members of its own.

    A test that restarts the bot, stops it, lets time be real, leaves work unfinished or fails is
    the last one that has this bot. Then another one starts, with a database of its own.
    """

    def __init__(
        self, make_folder: Callable[[], Path], speech: ScriptedBackend, **settings: Any
    ) -> None:
        self._make_folder = make_folder
        self._speech = speech
        self._settings = settings
        self._running = AsyncExitStack()
        self._first: Server | None = None

    @asynccontextmanager
    async def server(self) -> AsyncIterator[Server]:
        """Invite the bot to a new server, with one channel. What the bot left unhandled raises."""
        if self._first is None:
            opening = open_server(self._make_folder(), self._speech, **self._settings)
            server = self._first = await self._running.enter_async_context(opening)
        else:
            env = self._first.env
            channel = env.create_guild("Test server").create_text_channel("voices")
            server = Server(env, self._first.bot, self._speech, channel)
        server.forget_requests()
        is_as_before = False
        try:
            yield server
            is_as_before = await self._is_as_before(server)
        finally:
            self._first.bot = server.bot  # another one, after a restart
            if not is_as_before:
                await self.close()

    async def close(self) -> None:
        """Stop the bot, if it runs."""
        self._first = None
        await self._running.aclose()

    async def _is_as_before(self, server: Server) -> bool:
        server.raise_errors()
        if server.is_changed or server.bot.is_closed():
            return False
        server.env.backend.faults.clear()
        try:
            await server.env.settle(timeout=SECONDS_TO_FINISH)
        except TimeoutError:
            return False
        server.raise_errors()
        return not server.bot.replies.open
