"""One connection of discord.py's voice client, judged by whether speech can get through it.

discord.py's `is_connected()` stays true while frames are lost: for up to two seconds after the
gateway closed the session, for half a minute after close code 4014 or 4015, and for as long as UDP
is silent. The player's `after` is called with None whether speech was heard or lost. So a link
looks at the websocket, at what comes back by UDP, and at whether the player takes frames.

This is the only file that touches private parts of discord.py's voice client.
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
"""Of the Opus stream, in kbit/s."""

EXPECTED_LOSS = 0.001
"""The lowest share of lost packets that discord.py accepts; it is rounded to 0 %. With discord.py's
default of 15 % and error correction, Opus gives up most of its clarity."""

SECONDS_WITHOUT_READS = 1.5
"""discord.py's player takes a frame every 20 ms while it is alive."""

CONNECT_SECONDS = 6.0
"""discord.py's timeout for each part of a handshake; all of it may take twice as long."""

DISCONNECT_SECONDS = 2.0


class VoiceClientLike(Protocol):
    """What is used of `discord.VoiceClient`; the demo has its own."""

    channel: Any

    def is_connected(self) -> bool:
        """Whether the client believes that it is connected."""

    def play(self, source: discord.AudioSource, **options: Any) -> None:
        """Start a player, with the options of `discord.VoiceClient.play`."""

    def stop(self) -> None:
        """Stop the player, if there is one."""


class Fault(Enum):
    """Why speech does not get through."""

    GONE = auto()
    """The connection has ended."""
    UNSETTLED = auto()
    """The call is being moved to another server, or the websocket is closed."""
    SILENT = auto()
    """Nothing comes back by UDP any more."""
    STUCK = auto()
    """The player takes no frames."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """A fault, and since when it may have kept speech from being heard.

    Attributes:
        fault: What is wrong.
        since: In the time of `time.perf_counter`; None if it began after the last check.
    """

    fault: Fault
    since: float | None = None


class VoiceLink:
    """A connected voice client, and the player that speaks through it.

    Args:
        client: A voice client that has just connected.
        is_current: Whether discord.py still has it as the guild's voice client.
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
        self._lasting: Trouble | None = None  # a fault that only another link ends

    @property
    def next_should_echo(self) -> bool:
        """Whether the server of the next link should echo keep-alives too."""
        return self._liveness.next_should_echo

    @property
    def was_interrupted(self) -> bool:
        """Whether speech was lost since `play`, although it gets through again."""
        return self._liveness.gap_since is not None

    @property
    def arrived_until(self) -> float | None:
        """Until when speech is known to have arrived; None if that is unknown."""
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
        """Start to play a source; the event is set once the player has ended, for any reason."""
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
        """Return what keeps speech from getting through, if anything does; this is cheap."""
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
        """Whether the server is still there at the end of speech; True if it cannot be told."""
        if self._lasting is None and not await self._liveness.echoes():
            self._lasting = Trouble(Fault.SILENT, self._liveness.last_packet)
        return self._lasting is None

    def close(self) -> None:
        """Stop the player and the liveness checks. The owner disconnects the voice client."""
        self.stop()
        self._liveness.close()


class _PlayerThread:
    """Tells whether discord.py's player thread is alive, by what it reads."""

    def __init__(self, source: SpeechSource) -> None:
        self.has_ended = asyncio.Event()
        self.last_read = time.perf_counter()
        self._loop = asyncio.get_running_loop()
        self._source = source
        self._reads = source.reads

    def ended(self, _error: Exception | None) -> None:
        """Called by the player thread when it ends."""
        with suppress(RuntimeError):  # the event loop has ended before it
            self._loop.call_soon_threadsafe(self.has_ended.set)

    def is_stuck(self) -> bool:
        now = time.perf_counter()
        if self._source.reads != self._reads or self.has_ended.is_set():
            self._reads, self.last_read = self._source.reads, now
        return now - self.last_read > SECONDS_WITHOUT_READS


async def connect(channel: VocalChannel, voice_class: Callable[..., Any]) -> VoiceClientLike:
    """Connect to a channel, in one attempt. Raises one of `VOICE_ERRORS`.

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

    That task is never awaited. When it fails, it leaves the channel, even if there is another
    connection by then.
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
    """Return what sends and receives a voice client's UDP packets."""
    if not isinstance(client, discord.VoiceClient):
        return None
    return client._connection  # noqa: SLF001 - no public way
