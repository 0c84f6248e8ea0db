"""An address at which a call is served: a websocket and a UDP port on loopback."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from typing import TYPE_CHECKING

from aiohttp import web

from tests.support.voice_server import rtp
from tests.support.voice_server.session import CODE_LOST, SECONDS_TO_CLOSE, Session

if TYPE_CHECKING:
    from tests.support.voice_server.call import Call

HOST = "127.0.0.1"
DISCOVERY_ANSWER_SECONDS = 0.01
RTCP_INTERVAL_SECONDS = 1.0
RECEIVE_BUFFER_BYTES = 1 << 20
MAX_DATAGRAM_BYTES = 2048

# Linux stamps datagrams as they arrive, so a busy process does not blur the times. Python has no
# name for the option; its number is the same on x86 and ARM (include/uapi/asm-generic/socket.h).
SO_TIMESTAMPNS = 35
TIMESTAMP = struct.Struct("@qq")


class Address:
    """A voice server's address, serving one call.

    Attributes:
        sessions: The connections that are open here, by SSRC.
    """

    host = HOST

    def __init__(self, call: Call) -> None:
        self.sessions: dict[int, Session] = {}
        self._call = call
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._runner: web.AppRunner | None = None
        self._rtcp: asyncio.Task[None] | None = None
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
        self._rtcp = asyncio.create_task(self._send_rtcp())
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
        if self._rtcp is not None:
            self._rtcp.cancel()
        asyncio.get_running_loop().remove_reader(self._udp)
        self._udp.close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _connected(self, request: web.Request) -> web.StreamResponse:
        if self._call.faults.refuses_connections:
            return web.Response(status=503)
        websocket = web.WebSocketResponse(timeout=SECONDS_TO_CLOSE)
        await websocket.prepare(request)
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

    def _received(self, data: bytes, arrived: float, remote: tuple[str, int]) -> None:
        if len(data) == rtp.KEEPALIVE_BYTES:
            self._echo(data, remote)
            return
        session = self.sessions.get(rtp.source(data))
        if session is None:
            self._call.sent_to_nobody += 1
        elif session.deaf:
            return
        elif rtp.is_discovery(data):
            session.remote = remote
            if not self._call.faults.loses_discovery:
                asyncio.get_running_loop().call_later(
                    DISCOVERY_ANSWER_SECONDS, self._send, remote, session
                )
        elif rtp.is_speech(data) and not self._call.loses_packet():
            self._call.packets.append(
                rtp.Packet(
                    arrived=arrived,
                    connection=session.number,
                    data=data,
                    key=session.key,
                    is_secret=self._call.has_dave and self._call.listeners > 0,
                    listeners=session.group.addressed if session.group else (),
                )
            )

    def _echo(self, data: bytes, remote: tuple[str, int]) -> None:
        """Echo a keep-alive; Discord's own clients send these to keep their port open."""
        if any(session.remote == remote and not session.deaf for session in self.sessions.values()):
            self._udp.sendto(data, remote)

    def _send(self, remote: tuple[str, int], session: Session) -> None:
        """Answer a discovery after a short delay, like a server on a real network."""
        if self._udp.fileno() >= 0:
            self._udp.sendto(rtp.discovery_answer(session.ssrc, *remote), remote)

    async def _send_rtcp(self) -> None:
        while True:
            await asyncio.sleep(RTCP_INTERVAL_SECONDS)
            for session in self.sessions.values():
                if session.remote is not None and not session.deaf:
                    self._udp.sendto(rtp.sender_report(session.ssrc), session.remote)


def _arrival(notes: list[tuple[int, int, bytes]]) -> float:
    """When a datagram arrived: the kernel's timestamp, or now if there is none."""
    for level, kind, value in notes:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = TIMESTAMP.unpack(value)
            return float(seconds + nanoseconds / 1e9)
    return time.time()
