"""One websocket of the voice gateway, from hello to close."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from enum import IntEnum
from typing import TYPE_CHECKING, Any, TypeVar

import davey
from aiohttp import WSMsgType, web

from tests.support.voice_server import rtp
from tests.support.voice_server.dave import Group
from tests.support.voice_server.mls import ExternalSender
from tests.support.voice_server.modes import Pings
from tests.support.voice_server.udp import Traffic

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.support.voice_server.address import Address
    from tests.support.voice_server.call import Call

T = TypeVar("T", str, bytes)

HEARTBEAT_MILLISECONDS = 5_000
SECONDS_TO_CLOSE = 1.0
CODE_NORMAL = 1000
CODE_LOST = 1006
CODE_WRONG_TOKEN = 4004
CODE_NO_SESSION = 4006
CODE_NO_DAVE = 4017


class Op(IntEnum):
    """The opcodes of voice gateway v8 that matter here."""

    IDENTIFY = 0
    SELECT_PROTOCOL = 1
    READY = 2
    HEARTBEAT = 3
    SESSION_DESCRIPTION = 4
    SPEAKING = 5
    HEARTBEAT_ACK = 6
    RESUME = 7
    HELLO = 8
    RESUMED = 9
    DAVE_EXECUTE_TRANSITION = 22
    DAVE_TRANSITION_READY = 23
    DAVE_PREPARE_EPOCH = 24
    MLS_EXTERNAL_SENDER = 25
    MLS_KEY_PACKAGE = 26
    MLS_PROPOSALS = 27
    MLS_ANNOUNCE_COMMIT = 29
    MLS_WELCOME = 30


class Session:
    """The bot's connection to a call.

    Attributes:
        number: Of this connection among all to the call, from 0.
        ssrc: Marks the bot's packets.
        key: Encrypts them in transit.
        remote: Where the bot's UDP packets come from, once discovery has shown it.
        group: The bot's DAVE group, once somebody listens.
        speaking: Whether the bot last said that it speaks.
        received: How many speech packets have arrived.
        channel_id: Which voice channel it leads to.
        pings: When each native ping arrived, as `time.monotonic()`.
        strange_pings: How many eight bytes arrived that no server answers.
        deaf: What the bot sends by UDP never arrives.
        mute: Nothing comes by UDP.
        dumb: Heartbeats get no answer.
        closed_at: When it ended, as `time.time()`; None while it stands.
    """

    def __init__(
        self,
        call: Call,
        address: Address,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport | None,
    ) -> None:
        self.number = len(call.sessions)
        self.ssrc = secrets.randbits(31)
        self.key = secrets.token_bytes(rtp.KEY_BYTES)
        self.remote: tuple[str, int] | None = None
        self.group: Group | None = None
        self.speaking = False
        self.received = 0
        self.channel_id: int | None = None
        self.pings: list[float] = []
        self.strange_pings = 0
        self.deaf = False
        self.mute = False
        self.dumb = False
        self._call = call
        self._address = address
        self.closed_at: float | None = None
        self._socket = socket
        self._transport = transport
        self._goodbye = asyncio.Event()
        self._code = CODE_NORMAL
        self._sent = 0
        self._last_due = 0.0
        self._group_manager = ExternalSender()
        self._key_package: bytes | None = None
        self._welcoming: asyncio.Task[None] | None = None
        self._transitions = 0
        self._changing = asyncio.Lock()

    @property
    def is_open(self) -> bool:
        """Whether the websocket stands."""
        return not self._socket.closed

    async def run(self) -> None:
        """Serve the websocket until either side closes it."""
        await self._send(Op.HELLO, {"v": 8, "heartbeat_interval": HEARTBEAT_MILLISECONDS})
        serving = asyncio.create_task(self._serve())
        closing = asyncio.create_task(self._goodbye.wait())
        traffic = asyncio.create_task(Traffic(self._call, self).run())
        await asyncio.wait({serving, closing}, return_when=asyncio.FIRST_COMPLETED)
        tasks = {serving, closing, traffic, *([self._welcoming] if self._welcoming else [])}
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        # aiohttp waits for the bot's own close frame only while no other task reads.
        self.closed_at = time.time()
        await self._socket.close(code=self._code)
        if not serving.cancelled():
            serving.result()

    def close(self, code: int) -> None:
        """End the connection with a close code; 1006 aborts it without one."""
        if code != CODE_LOST:
            self._code = code
            self._goodbye.set()
        elif self._transport is not None:
            self._transport.abort()

    def send_udp(self, data: bytes, *, after: float = 0.0) -> None:
        """Send a datagram to the bot, unless nothing comes by UDP."""
        if self.remote is not None and not self.mute:
            self._address.send(data, self.remote, after=after)

    def pinged(self, data: bytes) -> None:
        """Answer eight bytes as the call's mode says; most are not a native ping."""
        mode = self._call.mode
        if self.deaf:
            return
        if not rtp.is_ping(data):
            self.strange_pings += 1
            return
        now = time.monotonic()
        self.pings.append(now)
        answers = mode.pings is not Pings.IGNORED
        if mode.answering_servers is not None:
            answers &= self._address.number < mode.answering_servers
        if mode.stops_answering_after is not None:
            answers &= now - self.pings[0] < mode.stops_answering_after
        count = len(self.pings)
        answers &= int(count * mode.answered_share) > int((count - 1) * mode.answered_share)
        if answers:
            answer = data if mode.pings is Pings.ECHO else rtp.pong(data)
            after = self._call.round_trip() + self._call.draw(mode.answers_after)
            self.send_udp(answer, after=after)

    async def update_group(self) -> None:
        """Make the DAVE group match the listeners in the call.

        The first listener adds the bot to a group. Once all listeners are gone, the bot is told
        that a new group starts, in which it is alone.
        """
        async with self._changing:  # a key package and a listener may come at once
            if self.group is None and self._call.listeners and self._key_package is not None:
                self.group = Group(
                    self._group_manager,
                    bot_id=self._call.bot_id,
                    channel_id=self._call.admission.channel_id if self._call.admission else 0,
                )
                welcome = self.group.take_in_bot(self._key_package)
                self._key_package = None
                await asyncio.sleep(self._call.mode.welcome_after)
                await self._send_binary(Op.MLS_WELCOME, b"\0\0" + welcome)  # transition 0: at once
            if self.group is not None and not self._call.listeners:
                self.group = None
                epoch = {"epoch": 1, "protocol_version": davey.DAVE_PROTOCOL_VERSION}
                await self._send(Op.DAVE_PREPARE_EPOCH, epoch)
            while self.group is not None:
                there, wanted = len(self.group.listeners), self._call.listeners
                if wanted in {0, there}:  # the call that made it 0 waits for this one
                    break
                await self._change_group(self.group, comes=there < wanted)

    async def _change_group(self, group: Group, *, comes: bool) -> None:
        """Add one listener, or remove one."""
        change = group.join() if comes else group.leave()
        self._transitions += 1
        await self._send_binary(Op.MLS_PROPOSALS, b"\0" + change.proposals)
        number = self._transitions.to_bytes(2, "big")
        await self._send_binary(Op.MLS_ANNOUNCE_COMMIT, number + change.commit)

    async def _serve(self) -> None:
        async for message in self._socket:
            if message.type is WSMsgType.TEXT:
                received = json.loads(message.data)
                await self._answer(received["op"], received["d"])
            elif message.type is WSMsgType.BINARY and message.data[0] == Op.MLS_KEY_PACKAGE:
                self._key_package = message.data[1:]
                self._welcoming = asyncio.create_task(self.update_group())

    async def _answer(self, op: int, data: Any) -> None:
        if op == Op.IDENTIFY:
            await self._identified(data)
        elif op == Op.RESUME:
            if self._admits(data):
                await self._send(Op.RESUMED, None)
        elif op == Op.SELECT_PROTOCOL:
            await self._protocol_selected(data)
        elif op == Op.HEARTBEAT and not self.dumb:
            await self._send(Op.HEARTBEAT_ACK, {"t": data["t"]})
        elif op == Op.DAVE_TRANSITION_READY:
            if self.group is not None and data["transition_id"] == self._transitions:
                self.group.bot_has_followed()
            await self._send(Op.DAVE_EXECUTE_TRANSITION, {"transition_id": data["transition_id"]})
        elif op == Op.SPEAKING:
            self.speaking = bool(data["speaking"])

    def _admits(self, data: Any) -> bool:
        admission = self._call.admission
        code = self._call.faults.closes_on_identify
        if code is None and (admission is None or data["session_id"] != admission.session_id):
            code = CODE_NO_SESSION
        elif code is None and admission is not None and data["token"] != admission.token:
            code = CODE_WRONG_TOKEN
        if code is not None:
            self.close(code)
        return code is None

    async def _identified(self, data: Any) -> None:
        if not self._admits(data):
            return
        if data.get("max_dave_protocol_version", 0) < davey.DAVE_PROTOCOL_VERSION:
            self.close(CODE_NO_DAVE)
            return
        self.channel_id = self._call.admission.channel_id if self._call.admission else None
        self._address.sessions[self.ssrc] = self
        ready = {
            "ssrc": self.ssrc,
            "ip": self._address.host,
            "port": self._address.udp_port,
            "modes": [rtp.ENCRYPTION_MODE],
        }
        await self._send(Op.READY, ready)

    async def _protocol_selected(self, data: Any) -> None:
        if self._call.faults.loses_session_description:
            return
        if data["data"]["mode"] != rtp.ENCRYPTION_MODE:
            raise AssertionError(f"the bot chose the encryption {data['data']['mode']}")
        description = {
            "mode": rtp.ENCRYPTION_MODE,
            "secret_key": list(self.key),
            "audio_codec": "opus",
            "dave_protocol_version": davey.DAVE_PROTOCOL_VERSION if self._call.has_dave else 0,
        }
        self.deaf = self._call.faults.deaf_from_the_start
        self.mute = self._call.faults.mute_from_the_start
        await self._send(Op.SESSION_DESCRIPTION, description)
        if self._call.has_dave:
            await self._send_binary(Op.MLS_EXTERNAL_SENDER, self._group_manager.package())

    async def _send(self, op: Op, data: Any) -> None:
        message = {"op": int(op), "d": data}
        if op is not Op.HEARTBEAT_ACK:
            self._sent += 1
            message["seq"] = self._sent
        await self._deliver(self._socket.send_str, json.dumps(message))

    async def _send_binary(self, op: Op, data: bytes) -> None:
        self._sent += 1
        head = self._sent.to_bytes(2, "big") + bytes([op])
        await self._deliver(self._socket.send_bytes, head + data)

    async def _deliver(self, send: Callable[[T], Awaitable[None]], message: T) -> None:
        """Send one message after the time that it travels, in order."""
        if self._call.mode.round_trip is not None:
            now = time.monotonic()
            self._last_due = max(self._last_due, now + self._call.round_trip())
            await asyncio.sleep(self._last_due - now)
        try:
            await asyncio.wait_for(send(message), SECONDS_TO_CLOSE)
        except (ConnectionError, TimeoutError):
            return  # the bot has disconnected meanwhile
