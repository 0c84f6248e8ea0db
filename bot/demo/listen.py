"""The listen page: the simulated voice channel, live in the browser."""

from __future__ import annotations

from contextlib import aclosing, asynccontextmanager, suppress
from importlib.resources import files
from typing import TYPE_CHECKING

from aiohttp import web

from bot.demo.ogg import ogg_opus_stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp.typedefs import Handler

    from bot.demo.broadcast import Broadcast

LOOPBACK = "127.0.0.1"
SECONDS_TO_LEAVE = 0.1
"""Listeners are cut off then; a stream has no end of its own."""

OUR_NAMES = {LOOPBACK, "localhost"}


@asynccontextmanager
async def listen_page(broadcast: Broadcast, *, port: int) -> AsyncIterator[str]:
    """Serve the page on loopback while the block runs; yields its address."""
    page = _Page(broadcast)
    app = web.Application(middlewares=[_only_by_our_name])
    app.add_routes([web.get("/", page.show), web.get("/live.ogg", page.play)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SECONDS_TO_LEAVE)
    await runner.setup()
    try:
        await web.TCPSite(runner, LOOPBACK, port).start()
        yield f"http://{LOOPBACK}:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


class _Page:
    """The page, and the sound in it."""

    def __init__(self, broadcast: Broadcast) -> None:
        self._broadcast = broadcast
        self._html = (files("bot.demo") / "listen.html").read_text(encoding="utf-8")

    async def show(self, _request: web.Request) -> web.Response:
        """The page itself."""
        return web.Response(text=self._html, content_type="text/html")

    async def play(self, request: web.Request) -> web.StreamResponse:
        """Ogg/Opus as it is spoken, until the listener goes away."""
        response = web.StreamResponse(
            headers={"Content-Type": "audio/ogg", "Cache-Control": "no-store"}
        )
        await response.prepare(request)
        with suppress(ConnectionResetError), ogg_opus_stream() as stream:
            async with aclosing(self._broadcast.packets()) as packets:
                async for packet in packets:
                    await response.write(stream.add(packet))
        return response


@web.middleware
async def _only_by_our_name(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer no page of the web that has its own name lead here (DNS rebinding)."""
    if request.url.host not in OUR_NAMES:
        raise web.HTTPForbidden
    return await handler(request)
