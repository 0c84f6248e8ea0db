"""The HTTP server: uvicorn, with bounds for clients that are slow, or many."""

from __future__ import annotations

import asyncio
import socket
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import structlog
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from bot.api.middleware import MOST_HEADER_BYTES
from bot.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import ASGIApp

log = structlog.get_logger(__name__)

MOST_CONNECTIONS = 512
SECONDS_FOR_HEADERS = 10.0
"""A connection is closed that has sent no whole request for so long, also between requests."""

SECONDS_WITHOUT_READING = 30.0
"""A client is cut off that has read nothing of its answer for so long."""

SECONDS_TO_END_ANSWERS = 0.5
"""Twice that may pass at the end: until requests have ended, and until their answers are sent."""

_BACKLOG = 128


class BoundedConnection(H11Protocol):
    """A connection that ends if its client is too slow. uvicorn by itself would wait for ever."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._cut_off: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Called by asyncio."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
        else:
            self._cut_off_in(SECONDS_FOR_HEADERS)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self._stop_timer()

    def on_response_complete(self) -> None:
        """Called when an answer was sent. The next request may have been read already."""
        before = self.cycle
        super().on_response_complete()
        if self.cycle is before and not self.transport.is_closing():
            self._cut_off_in(SECONDS_FOR_HEADERS)

    def pause_writing(self) -> None:
        """Called by asyncio when the client reads more slowly than it is written to."""
        super().pause_writing()
        self._cut_off_in(SECONDS_WITHOUT_READING)

    def resume_writing(self) -> None:
        """Called by asyncio when the client has read what waited."""
        super().resume_writing()
        self._stop_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        self._stop_timer()
        super().connection_lost(exc)
        self._stop_timer()

    def _cut_off_in(self, seconds: float) -> None:
        self._stop_timer()
        self._cut_off = self.loop.call_later(seconds, self.transport.abort)

    def _stop_timer(self) -> None:
        if self._cut_off is not None:
            self._cut_off.cancel()
            self._cut_off = None


class Server(uvicorn.Server):
    """uvicorn's server, which leaves signals to the command line.

    Args:
        app: What answers requests.
    """

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=BoundedConnection,
                ws="none",
                lifespan="off",
                loop="none",
                log_config=None,
                log_level="critical",  # `ApiMiddleware` logs what a request did, without its path
                access_log=False,
                server_header=False,
                proxy_headers=False,
                h11_max_incomplete_event_size=MOST_HEADER_BYTES,
                timeout_keep_alive=round(SECONDS_FOR_HEADERS),
                timeout_graceful_shutdown=1,
            )
        )

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave them alone. Called by uvicorn."""
        yield

    async def run_until_cancelled(self, listening: socket.socket) -> None:
        """Answer requests on a socket. When this is cancelled, answers that run are cut off."""
        serving = asyncio.create_task(self.serve([listening]))
        try:
            await asyncio.shield(serving)
        finally:
            self.should_exit = True
            with suppress(TimeoutError):
                async with asyncio.timeout(SECONDS_TO_END_ANSWERS):
                    await asyncio.shield(serving)
            serving.cancel()


def listen(host: str, port: int) -> socket.socket:
    """Open the socket to listen on. Raises `SettingsError` if that isn't possible.

    Args:
        host: An address of this machine, or a name of it.
        port: 0 takes any that is free.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _cannot_listen(host, port, error) from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(_BACKLOG)
        listening.settimeout(0)
    except OSError as error:
        listening.close()
        raise _cannot_listen(host, port, error) from error
    if not ip_address(address[0]).is_loopback:
        log.warning(
            "the API can be reached from other machines, and HTTP isn't encrypted",
            fix="put a proxy with TLS in front of it",
        )
    return listening


def _cannot_listen(host: str, port: int, error: OSError) -> SettingsError:
    reason = error.strerror or type(error).__name__
    return SettingsError(
        f"The API can't listen on {host} port {port} ({reason}). Choose others with --host, --port."
    )
