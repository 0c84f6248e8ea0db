"""The listen page: what is said in the simulated voice channel, live in the browser."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing, asynccontextmanager, suppress
from importlib.resources import files
from typing import TYPE_CHECKING

import discord
from aiohttp import web

from bot.demo.ogg import ogg_opus_stream

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from aiohttp.typedefs import Handler

SECONDS_PER_PACKET = discord.opus.Encoder.FRAME_LENGTH / 1000
LATE_SECONDS = 0.06
"""After silence: if no packet has come this long after it was due, a packet of silence is sent."""

LATE_IN_SPEECH_SECONDS = 0.5
"""The same within speech. It is longer, as silence inside of speech is heard: Opus takes 150 ms to
recover from it."""

MAX_WAITING = 250
"""Packets kept for a listener who does not read: five seconds. Later ones are dropped."""

SILENCE = discord.opus.OPUS_SILENCE

LOOPBACK = "127.0.0.1"
OUR_NAMES = {LOOPBACK, "localhost"}

SHUTDOWN_SECONDS = 0.1
"""How long the server waits for listeners, whose streams never end by themselves."""


class Broadcast:
    """Passes Opus packets of 20 ms on to listeners, and silence while nobody speaks."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._listeners: set[asyncio.Queue[bytes]] = set()

    def send(self, opus: bytes) -> None:
        """Send a packet to every listener; called by the player's thread."""
        self._loop.call_soon_threadsafe(self._pass_on, opus)

    async def packets(self) -> AsyncGenerator[bytes, None]:
        """All packets from now on, without an end: 50 in each second."""
        waiting: asyncio.Queue[bytes] = asyncio.Queue(MAX_WAITING)
        self._listeners.add(waiting)
        due = time.perf_counter()
        packet = SILENCE
        try:
            while True:
                # discord.py's player ends what it says with silence.
                patience = LATE_SECONDS if packet == SILENCE else LATE_IN_SPEECH_SECONDS
                try:
                    async with asyncio.timeout(due + patience - time.perf_counter()):
                        packet = await waiting.get()
                except TimeoutError:
                    packet = SILENCE
                due += SECONDS_PER_PACKET
                yield packet
        finally:
            self._listeners.discard(waiting)

    def _pass_on(self, opus: bytes) -> None:
        for waiting in self._listeners:
            with suppress(asyncio.QueueFull):
                waiting.put_nowait(opus)


@asynccontextmanager
async def listen_page(broadcast: Broadcast, *, port: int) -> AsyncIterator[str]:
    """Serve the page on loopback while the block runs; yields its address."""
    html = (files("bot.demo") / "listen.html").read_text(encoding="utf-8")

    async def show(_request: web.Request) -> web.Response:
        return web.Response(text=html, content_type="text/html")

    async def play(request: web.Request) -> web.StreamResponse:
        """Send Ogg/Opus as it is spoken, until the listener goes away."""
        response = web.StreamResponse(
            headers={"Content-Type": "audio/ogg", "Cache-Control": "no-store"}
        )
        await response.prepare(request)
        with suppress(ConnectionResetError), ogg_opus_stream() as stream:
            async with aclosing(broadcast.packets()) as packets:
                async for packet in packets:
                    await response.write(stream.add(packet))
        return response

    app = web.Application(middlewares=[_only_by_our_name])
    app.add_routes([web.get("/", show), web.get("/live.ogg", play)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
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
