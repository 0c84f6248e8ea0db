"""One connection of discord.py's voice client, with checks whether speech still arrives.

discord.py's `is_connected()` stays true while frames are lost: for up to two seconds after the
gateway closed the session, for half a minute after close code 4014 or 4015, and for as long as no
UDP packets come back. The player's `after` is called with None whether speech arrived or was lost.
So a link checks the websocket, the UDP packets that come back, and whether the player reads frames.

This is the only file that uses private attributes of discord.py's voice client.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Protocol

import discord
import structlog

from bot.playback.liveness import Liveness
from bot.playback.permissions import VOICE_ERRORS

if TYPE_CHECKING:
    from collections.abc import Callable

    from discord.voice_state import VoiceConnectionState

    from bot.playback.permissions import VocalChannel
    from bot.playback.source import SpeechSource

log = structlog.get_logger(__name__)

BITRATE = 96
"""The bit rate of the Opus stream, in kbit/s."""

EXPECTED_LOSS = 0.001
"""The lowest share of lost packets that discord.py accepts; it is rounded to 0 %. With discord.py's
default of 15 % and error correction, Opus sounds much less clear."""

SECONDS_WITHOUT_READS = 1.5
"""After this long without a read, the player counts as stuck. It normally reads every 20 ms."""

CONNECT_SECONDS = 6.0
"""discord.py's timeout for each part of a handshake. The whole handshake may take twice as long."""

DISCONNECT_SECONDS = 2.0


class VoiceClientLike(Protocol):
    """The part of `discord.VoiceClient` that is used here. The demo has its own implementation."""

    channel: Any

    def is_connected(self) -> bool:
        """Whether the client believes that it is connected."""

    def play(self, source: discord.AudioSource, **options: Any) -> None:
        """Start a player, with the options of `discord.VoiceClient.play`."""

    def stop(self) -> None:
        """Stop the player, if there is one."""


class Fault(Enum):
    """Why speech does not arrive."""

    GONE = auto()
    """The connection has ended."""
    UNSETTLED = auto()
    """The call is being moved to another server, or the websocket is closed."""
    SILENT = auto()
    """No UDP packets come back any more."""
    STUCK = auto()
    """The player reads no frames."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """A fault, and the time since when speech may have been lost.

    Attributes:
        fault: What is wrong.
        since: The time by `time.perf_counter`; None if the fault began after the last check.
    """

    fault: Fault
    since: float | None = None


class VoiceLink:
    """A connected voice client, and the player that sends speech through it.

    Args:
        client: A voice client that has just connected.
        is_current: Returns whether this is still the guild's voice client in discord.py.
        echo_expected: As for `Liveness`.
    """

    def __init__(
        self,
        client: VoiceClientLike,
        *,
        is_current: Callable[[], bool],
        echo_expected: bool = False,
    ) -> None:
        self.client = client
        self._is_current = is_current
        self._player: _PlayerThread | None = None
        self._liveness = Liveness(_udp_of(client), echo_expected=echo_expected)
        self._lasting: Trouble | None = None  # a fault that only reconnecting can fix

    @property
    def next_should_echo(self) -> bool:
        """Whether echoes of keep-alives should be expected on the next link."""
        return self._liveness.next_should_echo

    @property
    def was_interrupted(self) -> bool:
        """Whether speech was lost since `play`, although it arrives again now."""
        return self._liveness.gap_since is not None

    @property
    def arrived_until(self) -> float | None:
        """The time up to which speech is known to have arrived; None if that is not known."""
        return self._liveness.arrived_until

    @property
    def is_decryptable(self) -> bool:
        """Whether the others in the call can decrypt speech.

        Speech is end-to-end encrypted (DAVE) with a key that they share, except on stages.
        """
        if not isinstance(self.client, discord.VoiceClient):
            return True
        state = self.client._connection  # noqa: SLF001 - no public way
        return state.dave_session is None or self.client.voice_privacy_code is not None

    @property
    def close_code(self) -> int | None:
        """The code that the voice gateway's websocket was closed with; None while it is open."""
        if not isinstance(self.client, discord.VoiceClient) or not self.client.ws:
            return None
        websocket: Any = self.client.ws.ws  # an `aiohttp.ClientWebSocketResponse`, if there is one
        return None if websocket is None else websocket.close_code

    def play(self, source: SpeechSource) -> asyncio.Event:
        """Start to play a source. The returned event is set when the player ends for any reason."""
        self.stop()
        player = self._player = _PlayerThread(source)
        self._liveness.start_watching()
        self.client.play(
            source,
            after=player.ended,
            bitrate=BITRATE,
            fec=False,
            expected_packet_loss=EXPECTED_LOSS,
        )
        return player.has_ended

    def stop(self) -> None:
        """Stop the player, if there is one."""
        self._player = None
        self._liveness.stop_watching()
        self.client.stop()

    def trouble(self) -> Trouble | None:
        """Return the fault because of which speech does not arrive, if there is one. Cheap."""
        if not self._is_current():
            return Trouble(Fault.GONE)
        if not self.client.is_connected() or self.close_code is not None:
            return Trouble(Fault.UNSETTLED)
        if self._lasting is None and self._player is not None:
            if self._player.is_stuck():
                self._lasting = Trouble(Fault.STUCK, self._player.last_read)
            elif (since := self._liveness.silent_since()) is not None:
                self._lasting = Trouble(Fault.SILENT, since)
        return self._lasting

    async def answers(self) -> bool:
        """Return whether the server still responds at the end of speech; True if not known."""
        if self._lasting is None and not await self._liveness.echoes():
            self._lasting = Trouble(Fault.SILENT, self._liveness.last_packet)
        return self._lasting is None

    def close(self) -> None:
        """Stop the player and the liveness checks. The owner disconnects the voice client."""
        self.stop()
        self._liveness.close()


class _PlayerThread:
    """Tells whether discord.py's player thread is alive, by its reads from the source."""

    def __init__(self, source: SpeechSource) -> None:
        self.has_ended = asyncio.Event()
        self.last_read = time.perf_counter()
        self._loop = asyncio.get_running_loop()
        self._source = source
        self._reads = source.reads

    def ended(self, _error: Exception | None) -> None:
        """Called by the player thread when it ends."""
        with suppress(RuntimeError):  # the event loop has ended before the thread
            self._loop.call_soon_threadsafe(self.has_ended.set)

    def is_stuck(self) -> bool:
        now = time.perf_counter()
        if self._source.reads != self._reads or self.has_ended.is_set():
            self._reads, self.last_read = self._source.reads, now
        return now - self.last_read > SECONDS_WITHOUT_READS


async def connect(channel: VocalChannel, voice_class: Callable[..., Any]) -> VoiceClientLike:
    """Connect to a channel, without retrying. Raises one of `VOICE_ERRORS`.

    When Discord moves the call or the bot during the handshake, discord.py starts another handshake
    in a task of its own and cancels the one that this function awaits. The second handshake loses
    its socket when the first one cleans up (discord.py 2.7.1, `voice_state.py`), so the attempt
    counts as failed.
    """
    try:
        client: VoiceClientLike = await channel.connect(
            timeout=CONNECT_SECONDS, reconnect=False, self_deaf=True, cls=voice_class
        )
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise discord.ClientException("the call was moved during the handshake") from None
    if isinstance(client, discord.VoiceClient):
        _retrieve_exception(client._connection._runner)  # noqa: SLF001 - no public way
    return client


async def disconnect(client: Any) -> None:
    """Leave the channel, and wait until Discord shows the bot as gone."""
    try:
        async with asyncio.timeout(DISCONNECT_SECONDS):
            await client.disconnect(force=True)
    except VOICE_ERRORS as error:
        log.debug("voice connection not ended in order", reason=repr(error))
        client.cleanup()


def cancel_reconnect(client: object) -> None:
    """Cancel the task in which discord.py reconnects after a move, if there is one.

    discord.py never awaits that task. If the task fails, it leaves the channel, even if there is
    another connection by then.
    """
    if not isinstance(client, discord.VoiceClient):
        return
    connector = client._connection._connector  # noqa: SLF001 - no public way
    if connector is not None:
        connector.cancel()
    _retrieve_exception(connector)


def _retrieve_exception(task: asyncio.Task[None] | None) -> None:
    """Keep asyncio from reporting the exception of a task that discord.py never awaits."""
    if task is not None:
        task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())


def _udp_of(client: VoiceClientLike) -> VoiceConnectionState | None:
    """Return the object that sends and receives a voice client's UDP packets, if it has one."""
    if not isinstance(client, discord.VoiceClient):
        return None
    return client._connection  # noqa: SLF001 - no public way
