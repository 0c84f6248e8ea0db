"""One connection to a voice channel: it plays sources, sends pings, and tells how it is."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

import discord
import structlog

from bot.playback.link_state import SECONDS_TO_BEAT
from bot.playback.permissions import VOICE_ERRORS
from bot.playback.pings import IDLE_SECONDS_BETWEEN_PINGS, SECONDS_BETWEEN_PINGS, SECONDS_TO_DOUBT
from bot.playback.voice_client import VoiceClient
from bot.playback.waiting import is_set

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.playback.link_state import Departures
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

CONNECT_SECONDS = 10.0
"""discord.py's timeout for a handshake, and for the news of the next server after close code 4014.
Longer than `link_state.SECONDS_TO_CHANGE`, so that discord.py does not give up first."""

DISCONNECT_SECONDS = 2.0
SECONDS_TO_BE_ALONE = 5.0
"""How long to wait for a key after a handshake even if the main gateway shows nobody else. Its news
and the voice server's come apart, and speech without a key could not be understood."""

POLL_SECONDS = 0.1


class VoiceClientLike(Protocol):
    """The part of `discord.VoiceClient` that is used here. The demo has its own implementation."""

    channel: Any

    def is_connected(self) -> bool:
        """Whether the client believes that it is connected."""

    def play(self, source: discord.AudioSource, **options: Any) -> None:
        """Start a player, with the options of `discord.VoiceClient.play`."""

    def stop(self) -> None:
        """Stop the player, if there is one."""


class VoiceLink:
    """A connected voice client, and the player that sends speech through it.

    Args:
        client: A voice client that has just connected.
    """

    def __init__(self, client: VoiceClientLike) -> None:
        self.client = client
        self._inside = client if isinstance(client, VoiceClient) else None  # None: the demo's
        self._handshakes = 0  # when `play` was called
        self._played_at = 0.0
        self._player: _PlayerThread | None = None
        self._pinging = asyncio.create_task(_ping(self._inside)) if self._inside else None

    @property
    def close_code(self) -> int | None:
        """The code that the voice websocket was closed with; None while it is open."""
        return self._inside.close_code if self._inside is not None else None

    @property
    def is_moving(self) -> bool:
        """Whether discord.py waits for the next server, or connects to it."""
        return self._inside is not None and self._inside.is_moving

    @property
    def unchanged_seconds(self) -> float:
        """For how long nothing has happened in discord.py's part of a move."""
        if self._inside is None:
            return 0.0
        return time.perf_counter() - self._inside.changed_at

    @property
    def unanswered_seconds(self) -> float:
        """For how long no heartbeat was acknowledged."""
        if self._inside is None:
            return 0.0
        return time.perf_counter() - self._inside.acknowledged_at

    @property
    def is_understood(self) -> bool:
        """Whether the others in the channel, if there are any, can decrypt what is sent."""
        if self._inside is None:
            return True
        self.note_listeners()
        return self._inside.may_be_plain or not self._inside.needs_key

    @property
    def is_stuck(self) -> bool:
        """Whether the player takes no frames."""
        return self._player is not None and self._player.is_stuck()

    @property
    def has_moved(self) -> bool:
        """Whether the call has moved to another server since `play`."""
        return self._inside is not None and self._inside.handshakes != self._handshakes

    @property
    def is_out_of_reach(self) -> bool:
        """Whether a server that has answered this connection's pings regularly has stopped."""
        return self._inside is not None and self._inside.pings.is_missing(time.perf_counter())

    @property
    def is_doubtful(self) -> bool:
        """Whether some of what was sent since `play` may not have arrived."""
        if self._inside is None:
            return False
        now = time.perf_counter()
        if self._inside.pings.is_answered_regularly:
            missed, limit = self._inside.pings.missed_seconds(now), SECONDS_TO_DOUBT
        else:
            missed, limit = self.unanswered_seconds, SECONDS_TO_BEAT
        return min(missed, now - self._played_at) >= limit

    @property
    def proven_until(self) -> float | None:
        """Until when speech is known to have arrived since `play`; None if nothing is missed.

        The time is one of `time.perf_counter`'s.
        """
        if self._inside is None:
            return None
        if self.has_moved:
            return self._inside.proven_before
        if self._inside.pings.is_answered_regularly:
            return self._inside.pings.proven_until(time.perf_counter())
        return self._inside.acknowledged_at if self.unanswered_seconds > SECONDS_TO_BEAT else None

    def note_listeners(self) -> None:
        """Tell the player's thread whether the bot is alone, so that plain Opus may be sent.

        Call this when somebody enters the channel: nothing is sent then until their key is there.
        """
        if self._inside is not None:
            is_alone = len(self._inside.channel.voice_states) <= 1
            connected_seconds = time.perf_counter() - self._inside.connected_at
            self._inside.may_be_plain = is_alone and connected_seconds > SECONDS_TO_BE_ALONE

    def play(self, source: SpeechSource) -> asyncio.Event:
        """Start to play a source. The returned event is set when the player ends for any reason."""
        self.stop()
        if self._inside is not None:
            self._handshakes = self._inside.handshakes
        self._played_at = time.perf_counter()
        player = self._player = _PlayerThread(source)
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
        self.client.stop()

    async def until_answered(self, *, unless: Callable[[], bool]) -> bool:
        """At the end of speech, send the server a heartbeat, and wait for its answer.

        That costs a round trip. Without it, speech whose end is lost with the network would count
        as heard. If answers to pings are late, the wait goes
        on until a ping since then is answered. It ends early when the answers have stopped, or when
        `unless` is true.

        Returns whether there were no doubts meanwhile (see `is_doubtful`) and the answers go on.
        """
        if self._inside is None:
            return True
        ended_at, was_sure = time.perf_counter(), True
        await self._inside.ask_for_answer()
        while not await is_set(self._inside.answered, within=POLL_SECONDS) or self._lacks(ended_at):
            was_sure &= not self.is_doubtful
            if self._inside.pings.have_stopped(time.perf_counter()):
                return False
            if unless():
                break
            await asyncio.sleep(POLL_SECONDS)
        return was_sure

    def _lacks(self, moment: float) -> bool:
        """Whether answers are late that would show that what was sent until then has arrived."""
        proven_until = self.proven_until
        return proven_until is not None and proven_until < moment

    def close(self) -> None:
        """Stop the player and the pings. The owner disconnects the voice client."""
        self.stop()
        if self._pinging is not None:
            self._pinging.cancel()
        if self._inside is not None:
            self._inside.abandon()


async def _ping(client: VoiceClient) -> None:
    """Ping a server once a second while the bot speaks, else every five seconds."""
    sent_at = 0.0
    while True:
        now = time.perf_counter()
        is_speaking = client.source is not None
        wait = SECONDS_BETWEEN_PINGS if is_speaking else IDLE_SECONDS_BETWEEN_PINGS
        if now - sent_at >= wait and client.is_connected():
            client.send_ping()
            sent_at = now
        await asyncio.sleep(POLL_SECONDS)


class _PlayerThread:
    """Tells whether discord.py's player thread is alive, by its reads from the source."""

    def __init__(self, source: SpeechSource) -> None:
        self.has_ended = asyncio.Event()
        self._last_read = time.perf_counter()
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
            self._reads, self._last_read = self._source.reads, now
        return now - self._last_read > SECONDS_WITHOUT_READS


async def connect(
    channel: VocalChannel,
    voice_class: Callable[..., Any],
    *,
    departures: Departures,
    is_shown: Callable[[], bool],
) -> VoiceClientLike:
    """Connect to a channel, without retrying. Raises one of `VOICE_ERRORS`.

    Each connection gets a voice client of its own, and with it a UDP socket of its own. When
    discord.py makes a second socket in one client, its thread that reads may sit in `select` on the
    closed one for up to 30 s, and the handshake times out (2.7.1, `SocketReader._do_run`). That
    happens when Discord moves the call or the bot during the handshake: discord.py then starts
    another handshake in a task of its own, and cancels the one that this function awaits. So that
    counts as a failed try.

    Args:
        channel: The channel.
        voice_class: Of the voice client.
        departures: Is told when discord.py asks to leave the channel of its own accord.
        is_shown: Returns whether the main gateway shows the bot in a channel.
    """
    created: list[VoiceClient] = []

    def create(bot: discord.Client, where: discord.abc.Connectable) -> Any:
        client = voice_class(bot, where)
        if isinstance(client, VoiceClient):
            client.departures, client.is_shown = departures, is_shown
            created.append(client)
        return client

    try:
        connected: VoiceClientLike = await channel.connect(
            timeout=CONNECT_SECONDS, reconnect=False, self_deaf=True, cls=create
        )
    except BaseException as error:
        for client in created:
            client.abandon()
        _check_not_cancelled()
        if isinstance(error, asyncio.CancelledError):
            raise discord.ClientException("the call was moved during the handshake") from None
        raise
    return connected


async def disconnect(client: Any) -> None:
    """Leave the channel, and wait until Discord shows the bot as gone."""
    if isinstance(client, VoiceClient):
        client.abandon()
    try:
        async with asyncio.timeout(DISCONNECT_SECONDS):
            await client.disconnect(force=True)
    except VOICE_ERRORS as error:
        log.debug("voice connection not ended in order", reason=repr(error))
        client.cleanup()
    _check_not_cancelled()


def _check_not_cancelled() -> None:
    """Raise `CancelledError` if this task was cancelled.

    While discord.py disconnects, it goes on as if nobody had cancelled it (2.7.1,
    `VoiceConnectionState.disconnect`).
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
