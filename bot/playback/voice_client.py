"""discord.py's voice client, and what it keeps to itself: the only file that touches its inside.

`discord.VoiceClient` tells neither why its websocket was closed, nor how far a move has got, nor
whether heartbeats are answered. Its `is_connected()` stays true for half a minute after close code
4014. The subclass here makes all of that visible, and mends what gets in the way of speech. Each
override says which part of discord.py it is about. `tests/playback/test_voice_client.py` fails when
discord.py has changed any of it.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import aiohttp
import discord
import structlog
from discord.gateway import DiscordVoiceWebSocket
from discord.voice_state import ConnectionFlowState, VoiceConnectionState

from bot.playback.link_state import UNEXPLAINED_CODES, Departures
from bot.playback.pings import Kind, PingTracker, kind_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from discord.types.voice import GuildVoiceState, VoiceServerUpdate

log = structlog.get_logger(__name__)

WRITTEN_FOR = "2.7.1"
"""The version of discord.py whose inside this file knows."""

_TELLING = {Kind.ECHO, Kind.PONG, Kind.RECEIVER_REPORT}


class VoiceClient(discord.VoiceClient):
    """A connection to a voice channel that tells how it is.

    Args:
        client: The bot.
        channel: The channel to connect to.
        trace: Log the kind, length and time of what comes by UDP, but never its contents.

    Attributes:
        handshakes: How many have been completed: one, and one for each move of the call.
        pings: What the pings since the latest handshake tell. Another server starts anew.
        proven_before: Until when speech is known to have arrived at the server before, if answers
            to pings were late when the call moved; else None. Times are `time.perf_counter`'s.
        is_moving: discord.py waits for the next server, or connects to it.
        changed_at: When something last happened in a handshake, on the websocket or in the main
            gateway's news of this connection.
        connected_at: When the latest handshake was completed.
        acknowledged_at: When a heartbeat was last acknowledged, if that was later.
        answered: Set by each of these.
        departures: The requests to leave the channel, also of earlier connections.
        is_shown: Returns whether the main gateway shows the bot in a channel.
        may_be_plain: Frames may be sent without end-to-end encryption, because nobody listens.
        is_abandoned: `abandon` was called.
    """

    def __init__(
        self, client: discord.Client, channel: discord.abc.Connectable, *, trace: bool = False
    ) -> None:
        self.handshakes = 0
        self.is_moving = False
        self.pings = PingTracker()
        self.proven_before: float | None = None
        self.changed_at = self.acknowledged_at = self.connected_at = time.perf_counter()
        self.answered = asyncio.Event()
        self.departures = Departures()
        self.is_shown: Callable[[], bool] = lambda: True
        self.may_be_plain = False
        self.is_abandoned = False
        self._trace = trace
        self._closed: tuple[object, int | None] = (None, None)  # a websocket, and its close code
        self._created_at = self.changed_at
        super().__init__(client, channel)

    def create_connection_state(self) -> VoiceConnectionState:
        """Return the part that makes the connection; discord.py calls this once."""
        return _ConnectionState(self)

    @property
    def close_code(self) -> int | None:
        """The code that the voice websocket was closed with; None while it is open.

        This is the first code seen. aiohttp shows 1006 in its place once a heartbeat can't be sent.
        """
        websocket: Any = self.ws  # `MISSING` before the first handshake
        if not websocket:
            return None
        if self._closed[0] is not websocket or self._closed[1] is None:
            self._closed = (websocket, websocket.ws.close_code)
        return self._closed[1]

    @property
    def needs_key(self) -> bool:
        """Whether this call is end-to-end encrypted (DAVE), and its key is still to come.

        Without the key, discord.py would send plain Opus (2.7.1, `_get_voice_packet`).
        """
        state = self._connection
        return state.dave_protocol_version > 0 and not state.can_encrypt

    def note_handshake(self) -> None:
        """Start anew with a server; called when a handshake is complete."""
        now = time.perf_counter()
        if not self.handshakes:
            # Not before: answers to IP discovery have to wait for discord.py's own listener.
            self._connection.add_socket_listener(self._received_udp)
        self.proven_before = self.pings.proven_until(now)
        self.pings = PingTracker()
        self.acknowledged_at = self.connected_at = now
        self.answered.set()
        self.handshakes += 1

    async def ask_for_answer(self) -> None:
        """Send a heartbeat besides discord.py's own; `answered` is set when one is acknowledged."""
        self.answered.clear()
        websocket: Any = self.ws
        if websocket and websocket._keep_alive is not None:  # noqa: SLF001 - no public way
            heartbeat = websocket._keep_alive.get_payload()  # noqa: SLF001 - no public way
            with suppress(OSError, aiohttp.ClientError):  # it is closed
                await websocket.send_heartbeat(heartbeat)

    def send_ping(self) -> None:
        """Send a ping by UDP."""
        with suppress(OSError):  # the socket is closed, or its buffer is full
            self._connection.send_packet(self.pings.ping(time.perf_counter()))

    def send_audio_packet(self, data: bytes, *, encode: bool = True) -> None:
        """Send 20 ms of speech, unless others are there who could not decrypt it.

        The player's thread calls this. A key may be missing in mid-speech, when the call starts
        over with a new group. `playout.py` then says again what was not sent.
        """
        if self.may_be_plain or not self.needs_key:
            super().send_audio_packet(data, encode=encode)

    def abandon(self) -> None:
        """Keep discord.py from going on with this connection after it was given up.

        A call is moved in tasks that nobody awaits. If one of them fails later, it leaves the
        channel, even if there is another connection by then (2.7.1, `VoiceConnectionState`:
        `_poll_voice_ws`, `_wrap_connect`).
        """
        self.is_abandoned = True
        state: Any = self._connection
        for task in (state._connector, state._runner):  # noqa: SLF001 - no public way
            if task is not None:
                task.cancel()
                task.add_done_callback(self._task_ended)

    def _task_ended(self, task: asyncio.Task[Any]) -> None:
        """Leave nothing behind of a task that was cancelled, perhaps in mid-handshake."""
        if not task.cancelled():
            task.exception()  # asyncio would report an exception that nobody retrieves
        websocket: Any = self.ws
        if websocket and websocket._keep_alive is not None:  # noqa: SLF001 - no public way
            websocket._keep_alive.stop()  # noqa: SLF001 - a thread, which would go on

    def _received_udp(self, packet: bytes) -> None:
        """Take in a UDP packet; called by the thread that reads the socket."""
        now = time.perf_counter()
        kind = kind_of(packet)
        if self._trace:
            log.info(
                "voice UDP", kind=str(kind), bytes=len(packet), at=round(now - self._created_at, 3)
            )
        if kind in _TELLING:
            with suppress(RuntimeError):  # the event loop has ended
                self.loop.call_soon_threadsafe(self._note_proof, packet, now)

    def _note_proof(self, packet: bytes, now: float) -> None:
        self.pings.receive(packet, now)


class _ConnectionState(VoiceConnectionState):
    """What `discord.VoiceClient` has in `_connection`, and reports to it what happens."""

    voice_client: VoiceClient

    def __init__(self, voice_client: VoiceClient) -> None:
        super().__init__(voice_client, hook=self._received)

    @property
    def state(self) -> ConnectionFlowState:
        """How far the connection is."""
        return self._state

    @state.setter
    def state(self, state: ConnectionFlowState) -> None:
        self.voice_client.changed_at = time.perf_counter()
        if state is ConnectionFlowState.connected:
            self.voice_client.note_handshake()
        set_state: Any = VoiceConnectionState.state
        set_state.__set__(self, state)

    async def connect(self, **options: Any) -> None:
        """Begin a handshake, unless the connection was given up.

        When the bot or the call is moved during a handshake, discord.py closes the websocket, and
        begins another handshake a moment later. The one that is awaited fails in between.
        """
        if not self.voice_client.is_abandoned:
            await super().connect(**options)

    async def _inner_connect(self, *arguments: Any, **options: Any) -> None:
        """Make a handshake, within the timeout even if a cancellation gets lost.

        Before Python 3.12, `asyncio.wait_for` loses it if what it waits for comes at that moment.
        discord.py's own `wait_for` around this, once it is cancelled, waits without a limit.
        """
        async with asyncio.timeout(self.timeout):
            await super()._inner_connect(*arguments, **options)

    def _create_socket(self) -> None:
        """Make the UDP socket for a handshake, which there is none of once it was given up.

        If the server is named twice during a handshake, discord.py leaves the first socket open.
        """
        if not self.voice_client.is_abandoned:
            if self.socket:
                self.socket.close()
            super()._create_socket()

    async def _received(self, _websocket: DiscordVoiceWebSocket, message: dict[str, Any]) -> None:
        """Called with each message of the voice websocket."""
        now = time.perf_counter()
        if message["op"] == DiscordVoiceWebSocket.HEARTBEAT_ACK:
            self.voice_client.acknowledged_at = now
            self.voice_client.answered.set()
        else:
            self.voice_client.changed_at = now

    async def voice_state_update(self, data: GuildVoiceState) -> None:
        """Take in where the main gateway shows the bot.

        discord.py takes the late news that an earlier connection has left for the end of this one.
        """
        self.voice_client.changed_at = time.perf_counter()
        channel_id: object = data["channel_id"]  # discord.py's type leaves out the None
        if channel_id is None and self.session_id is None:
            return
        await super().voice_state_update(data)

    async def voice_server_update(self, data: VoiceServerUpdate) -> None:
        """Take in which voice server the main gateway names."""
        self.voice_client.changed_at = time.perf_counter()
        await super().voice_server_update(data)

    async def _potential_reconnect(self) -> bool:
        """Wait for the next server, and connect to it.

        discord.py does so after close code 4014 or 4022, and when the main gateway has named
        another server. In the latter case, the old one may have closed with any code.
        """
        self.voice_client.changed_at = time.perf_counter()
        self.voice_client.is_moving = True
        try:
            return await super()._potential_reconnect()
        finally:
            self.voice_client.is_moving = False

    async def _voice_disconnect(self) -> None:
        """Ask to leave the channel. discord.py does so whenever a connection has failed.

        It asks even if Discord shows the bot in no channel, and then waits for a confirmation that
        never comes. And if the main gateway is away, it leaves its websocket open.

        If Discord closes the first handshake with a code that leaves open why, nothing is asked
        either. A moderator may have disconnected the bot, and the news of that would be taken for
        the answer.
        """
        client = self.voice_client
        departures = client.departures
        is_open_why = not client.handshakes and client.close_code in UNEXPLAINED_CODES
        if is_open_why or not departures.ask(time.monotonic(), is_shown=client.is_shown()):
            self.state = ConnectionFlowState.disconnected
            self._disconnected.set()
            return
        try:
            await super()._voice_disconnect()
        except (OSError, discord.DiscordException) as error:
            log.debug("could not ask to leave", reason=repr(error))
            departures.take_back()
            self._disconnected.set()
