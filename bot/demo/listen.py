"""The listen page: what is said in the simulated voice channel, live in the browser."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager, suppress
from importlib.resources import files
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from aiohttp.typedefs import Handler

MAX_WAITING = 250
"""Frames kept for a listener who does not read: five seconds. Later ones are dropped."""

LOOPBACK = "127.0.0.1"
OUR_NAMES = {LOOPBACK, "localhost"}

SHUTDOWN_SECONDS = 0.1
"""How long the server waits for listeners, whose streams never end by themselves."""


class Broadcast:
    """Passes what is spoken on to listeners: frames of 20 ms, 48 kHz stereo s16le.

    Attributes:
        on_listeners: Called with the number of listeners when it changes.
    """

    def __init__(self) -> None:
        self.on_listeners: Callable[[int], None] = lambda _listeners: None
        self._loop = asyncio.get_running_loop()
        self._listeners: set[asyncio.Queue[bytes]] = set()

    def send(self, frame: bytes) -> None:
        """Send a frame to every listener; called by the player's thread."""
        self._loop.call_soon_threadsafe(self._pass_on, frame)

    @contextmanager
    def listener(self) -> Iterator[asyncio.Queue[bytes]]:
        """A queue of all frames from now on. Nothing is sent while nobody speaks."""
        waiting: asyncio.Queue[bytes] = asyncio.Queue(MAX_WAITING)
        self._listeners.add(waiting)
        self.on_listeners(len(self._listeners))
        try:
            yield waiting
        finally:
            self._listeners.discard(waiting)
            self.on_listeners(len(self._listeners))

    def _pass_on(self, frame: bytes) -> None:
        for waiting in self._listeners:
            with suppress(asyncio.QueueFull):
                waiting.put_nowait(frame)


@asynccontextmanager
async def listen_page(broadcast: Broadcast, *, port: int) -> AsyncIterator[str]:
    """Serve the page on loopback while the block runs; yields its address."""
    html = (files("bot.demo") / "listen.html").read_text(encoding="utf-8")

    async def show(_request: web.Request) -> web.Response:
        return web.Response(text=html, content_type="text/html")

    async def play(request: web.Request) -> web.StreamResponse:
        """Send samples as they are spoken, until the listener goes away."""
        response = web.StreamResponse(headers={"Cache-Control": "no-store"})
        with broadcast.listener() as frames, suppress(ConnectionResetError):
            await response.prepare(request)
            while True:
                await response.write(await frames.get())
        return response

    app = web.Application(middlewares=[_only_by_our_name])
    app.add_routes([web.get("/", show), web.get("/live.pcm", play)])
    runner = web.AppRunner(
        app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS, handler_cancellation=True
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, LOOPBACK, port).start()
        yield f"http://{LOOPBACK}:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


@web.middleware
async def _only_by_our_name(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse web pages whose own host name leads to this server (DNS rebinding)."""
    if request.url.host not in OUR_NAMES:
        raise web.HTTPForbidden
    return await handler(request)
