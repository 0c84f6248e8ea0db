"""An address at which a call is served: a websocket and a UDP port on loopback."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from aiohttp import web

from tests.support.voice_server import rtp
from tests.support.voice_server.session import CODE_LOST, SECONDS_TO_CLOSE, Session

if TYPE_CHECKING:
    from tests.support.voice_server.call import Call

HOST = "127.0.0.1"
DISCOVERY_ANSWER_SECONDS = 0.01
HANDSHAKES = 3
"""How many round trips the handshakes of TCP, TLS and HTTP take before the websocket stands."""

RECEIVE_BUFFER_BYTES = 1 << 20
MAX_DATAGRAM_BYTES = 2048

# Linux stamps datagrams as they arrive, so a busy process does not blur the times. Python has no
# name for the option; its number is the same on x86 and ARM (include/uapi/asm-generic/socket.h).
SO_TIMESTAMPNS = 35
TIMESTAMP = struct.Struct("@qq")


class Address:
    """A voice server's address, serving one call.

    Attributes:
        number: Of this address among all of the call, from 0.
        sessions: The connections that are open here, by SSRC.
    """

    host = HOST

    def __init__(self, call: Call, number: int) -> None:
        self.number = number
        self.sessions: dict[int, Session] = {}
        self._call = call
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._runner: web.AppRunner | None = None
        self._port = 0

    @property
    def endpoint(self) -> str:
        """What Discord calls the server's endpoint: host and port of the websocket."""
        return f"{self.host}:{self._port}"

    @property
    def udp_port(self) -> int:
        """Where speech is sent to."""
        port: int = self._udp.getsockname()[1]
        return port

    async def open(self) -> None:
        """Start to answer, on ports that the system chooses."""
        self._udp.setblocking(False)  # noqa: FBT003 - the socket module's own signature
        self._udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        if hasattr(socket, "SO_PASSCRED"):  # only Linux has it
            self._udp.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._udp.bind((self.host, 0))
        asyncio.get_running_loop().add_reader(self._udp, self._receive)
        app = web.Application()
        app.router.add_get("/", self._connected)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=SECONDS_TO_CLOSE)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, 0)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def close(self) -> None:
        """Stop answering: connections are cut, new ones are refused."""
        for session in list(self.sessions.values()):
            session.close(CODE_LOST)
        asyncio.get_running_loop().remove_reader(self._udp)
        self._udp.close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _connected(self, request: web.Request) -> web.StreamResponse:
        while self._call.faults.swallows_connections:  # noqa: ASYNC110 - a test sets it
            await asyncio.sleep(SECONDS_TO_CLOSE)
        if self._call.mode.round_trip is not None:
            await asyncio.sleep(HANDSHAKES * self._call.draw(self._call.mode.round_trip))
        if self._call.faults.refuses_connections:
            return web.Response(status=503)
        websocket = web.WebSocketResponse(timeout=SECONDS_TO_CLOSE)
        try:
            await websocket.prepare(request)
        except ConnectionError:  # the bot did not wait
            return web.Response(status=400)
        session = Session(self._call, self, websocket, request.transport)
        self._call.sessions.append(session)
        try:
            await session.run()
        finally:
            self.sessions.pop(session.ssrc, None)
        return websocket

    def _receive(self) -> None:
        while True:
            try:
                data, notes, _, remote = self._udp.recvmsg(MAX_DATAGRAM_BYTES, 64)
            except BlockingIOError:
                return
            self._received(data, _arrival(notes), remote)

    def send(self, data: bytes, remote: tuple[str, int], *, after: float = 0.0) -> None:
        """Send a datagram, after so many seconds."""
        if after:
            asyncio.get_running_loop().call_later(after, self._send, data, remote)
        else:
            self._send(data, remote)

    def _send(self, data: bytes, remote: tuple[str, int]) -> None:
        if self._udp.fileno() >= 0:
            with suppress(OSError):  # the bot has closed its socket
                self._udp.sendto(data, remote)

    def _received(self, data: bytes, arrived: float, remote: tuple[str, int]) -> None:
        if len(data) == rtp.PING_BYTES:
            for each in self.sessions.values():
                if each.remote == remote:
                    each.pinged(data)
            return
        session = self.sessions.get(rtp.source(data))
        if session is None:
            self._call.sent_to_nobody += 1
        elif session.deaf:
            return
        elif rtp.is_discovery(data):
            session.remote = remote
            if not self._call.faults.loses_discovery:
                delay = DISCOVERY_ANSWER_SECONDS + self._call.round_trip()
                self.send(rtp.discovery_answer(session.ssrc, *remote), remote, after=delay)
        elif rtp.is_speech(data) and not self._call.loses_packet():
            session.received += 1
            self._call.packets.append(
                rtp.Packet(
                    arrived=arrived,
                    connection=session.number,
                    channel_id=session.channel_id,
                    data=data,
                    key=session.key,
                    is_secret=self._call.has_dave and self._call.listeners > 0,
                    listeners=session.group.addressed if session.group else (),
                )
            )


def _arrival(notes: list[tuple[int, int, bytes]]) -> float:
    """When a datagram arrived: the kernel's timestamp, or now if there is none."""
    for level, kind, value in notes:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = TIMESTAMP.unpack(value)
            return float(seconds + nanoseconds / 1e9)
    return time.time()
