"""A voice connection, judged by whether speech can really get through it.

discord.py's `is_connected()` stays true while frames go nowhere: for up to two seconds after the
gateway closed the session, for half a minute after close code 4014 or 4015, and for as long as UDP
is silent. Its player's `after` says None whether a clip was heard or lost. So this looks at the
websocket, at what comes back by UDP, and at whether frames are being taken.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Protocol

import discord

from bot.playback.liveness import SignsOfLife

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.playback.source import SpeechSource

BITRATE = 96
"""Of the Opus stream, in kbit/s."""

EXPECTED_LOSS = 0.001
"""Discord.py takes no zero here, but makes whole percents of it. With its own default of 15 %, and
with error correction, Opus gives up most of its clarity."""

SECONDS_WITHOUT_READS = 1.5
"""Discord.py's player takes a frame every 20 ms while it is alive."""


class VoiceConnection(Protocol):
    """What is needed of `discord.VoiceClient`; the demo has another one."""

    channel: Any

    def is_connected(self) -> bool:
        """Whether the connection believes that it stands."""
        ...

    def is_playing(self) -> bool:
        """Whether a player is at work."""
        ...

    def play(
        self,
        source: discord.AudioSource,
        *,
        after: Callable[[Exception | None], Any] | None = None,
        bitrate: int = ...,
        fec: bool = ...,
        expected_packet_loss: float = ...,
    ) -> None:
        """Start a player."""
        ...

    def stop(self) -> None:
        """End the player, if there is one."""
        ...

    async def disconnect(self, *, force: bool) -> None:
        """Leave the channel."""


class Fault(Enum):
    """Why speech does not get through."""

    GONE = auto()
    """The connection has ended."""
    UNSETTLED = auto()
    """It is being moved to another server, or has lost its websocket."""
    SILENT = auto()
    """Nothing comes back by UDP any more."""
    STUCK = auto()
    """The player does not take frames."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """A fault, and since when it may have kept speech from being heard.

    Attributes:
        fault: What is wrong.
        since: In the time of `time.perf_counter`; None if it began since the last look.
    """

    fault: Fault
    since: float | None = None


class Line:
    """One connection to one voice channel, with the player that speaks through it.

    Args:
        voice: A connection that has just been made.
        is_current: Whether discord.py still knows it as the guild's connection.
        answers_expected: As for `SignsOfLife`.
    """

    def __init__(
        self,
        voice: VoiceConnection,
        *,
        is_current: Callable[[], bool],
        answers_expected: bool = False,
    ) -> None:
        self.voice = voice
        self._is_current = is_current
        self._player: _Player | None = None
        self._signs = SignsOfLife(voice, answers_expected=answers_expected)
        self._worn_out: Trouble | None = None  # a fault that does not go away

    @property
    def next_should_answer(self) -> bool:
        """Whether the server of the next line, too, should send keep-alives back."""
        return self._signs.next_should_answer

    @property
    def was_interrupted(self) -> bool:
        """Whether speech was lost since `play`, though it gets through again."""
        return self._signs.gap_since is not None

    @property
    def known_until(self) -> float | None:
        """Until when speech is known to have arrived; None if that does not show."""
        return self._signs.known_until

    @property
    def is_understood(self) -> bool:
        """Whether who else is in the call can decrypt what is said.

        It takes a key that they share, but for stages, which are not end-to-end encrypted.
        """
        if not isinstance(self.voice, discord.VoiceClient):
            return True
        is_encrypted = self.voice._connection.dave_session is not None  # noqa: SLF001 - no public way
        return not is_encrypted or self.voice.voice_privacy_code is not None

    @property
    def close_code(self) -> int | None:
        """The code that the voice gateway's websocket was closed with, once it is."""
        websocket = _websocket(self.voice)
        return None if websocket is None else websocket.close_code

    def play(self, source: SpeechSource) -> asyncio.Event:
        """Begin to speak; the event is set when the player has ended, whatever the reason."""
        self.stop()
        player = self._player = _Player(source)
        self._signs.expect()
        self.voice.play(
            source,
            after=player.ended,
            bitrate=BITRATE,
            fec=False,
            expected_packet_loss=EXPECTED_LOSS,
        )
        return player.has_ended

    def stop(self) -> None:
        """End the player, dead or alive."""
        self._player = None
        self._signs.expect_none()
        self.voice.stop()

    def trouble(self) -> Trouble | None:
        """Say what keeps speech from getting through, if anything does; costs nothing."""
        if not self._is_current():
            return Trouble(Fault.GONE)
        if not self.voice.is_connected() or self.close_code is not None:
            return Trouble(Fault.UNSETTLED)
        if self._worn_out is None and self._player is not None:
            self._worn_out = self._trouble_of(self._player)
        return self._worn_out

    def _trouble_of(self, player: _Player) -> Trouble | None:
        if player.is_stuck():
            return Trouble(Fault.STUCK, player.last_read)
        last_sign = self._signs.lost_since()
        return None if last_sign is None else Trouble(Fault.SILENT, last_sign)

    async def is_answered(self) -> bool:
        """Whether the other side is there at the end of an item, as far as it ever shows that."""
        if self._worn_out is None and not await self._signs.come():
            self._worn_out = Trouble(Fault.SILENT, self._signs.last)
        return self._worn_out is None

    def hang_up(self) -> None:
        """Stop listening for signs. The connection itself is ended by its owner."""
        self.stop()
        self._signs.close()


class _Player:
    """Whether discord.py's player thread is alive, told by what it reads."""

    def __init__(self, source: SpeechSource) -> None:
        self.has_ended = asyncio.Event()
        self.last_read = time.perf_counter()
        self._loop = asyncio.get_running_loop()
        self._source = source
        self._reads = source.reads

    def ended(self, _error: Exception | None) -> None:
        """Called by the player's thread at its very end."""
        with suppress(RuntimeError):  # the event loop has ended first
            self._loop.call_soon_threadsafe(self.has_ended.set)

    def is_stuck(self) -> bool:
        now = time.perf_counter()
        if self._source.reads != self._reads or self.has_ended.is_set():
            self._reads, self.last_read = self._source.reads, now
        return now - self.last_read > SECONDS_WITHOUT_READS


def _websocket(voice: VoiceConnection) -> Any:
    """The voice gateway's websocket (`aiohttp.ClientWebSocketResponse`), if there is one."""
    if not isinstance(voice, discord.VoiceClient) or not voice.ws:
        return None
    return voice.ws.ws
