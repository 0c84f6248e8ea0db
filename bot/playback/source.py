"""The audio source that discord.py's player thread reads, fed from the event loop."""

from __future__ import annotations

import asyncio
import threading
import time

import discord
import numpy as np

from bot.playback.resampling import DISCORD_SAMPLE_RATE

BYTES_PER_SECOND = DISCORD_SAMPLE_RATE * 2 * 2
FRAME_BYTES = discord.opus.Encoder.FRAME_SIZE
"""20 ms of 48 kHz stereo s16le: what Discord takes at a time."""

PREBUFFER_SECONDS = 0.12
"""What is gathered before speech begins: less than this seldom lasts until the next chunk comes."""

MAX_PREBUFFER_SECONDS = 1.6
"""Each time that speech runs dry, twice as much is gathered before it goes on, up to this."""

START_WITHIN_SECONDS = 0.15
"""The first sound waits no longer than this for more to come. The engine's first chunk is 0.1 s, of
which the watermark has held back the rest; its second follows four frames later."""

KEPT_SECONDS = 8.0
"""How much of what was read is kept, to be said again if it turns out that nobody heard it."""

_FADE_BYTES = BYTES_PER_SECOND // 200
_SILENCE = bytes(FRAME_BYTES)


class SpeechSource(discord.AudioSource):
    """Speech that is still being made while it is heard.

    Every sample that is fed comes out once, in order. Where there is none yet, silence does, and
    the edges of speech are faded over 5 ms so that nothing clicks. `read` is called by the player's
    thread and never waits; everything else belongs to the event loop.

    Attributes:
        reads: How often the player has asked for a frame: whether it is alive.
        underruns: How often speech ran dry before it was finished.
    """

    def __init__(self) -> None:
        self.reads = 0
        self.underruns = 0
        self._lock = threading.Lock()  # never held for longer than it takes to copy some bytes
        self._pcm = bytearray()
        self._next = 0
        self._forgotten = 0
        self._finished = False
        self._held = False
        self._flowing = False
        self._after_silence = True
        self._prebuffer = _bytes_in(PREBUFFER_SECONDS)
        self._first_fed: float | None = None
        self._begun = asyncio.Event()

    @property
    def position(self) -> int:
        """How many bytes were read."""
        return self._forgotten + self._next

    @property
    def length(self) -> int:
        """How many bytes were fed, less what was taken back."""
        return self._forgotten + len(self._pcm)

    @property
    def buffered_seconds(self) -> float:
        """How much speech waits to be read."""
        return (len(self._pcm) - self._next) / BYTES_PER_SECOND

    @property
    def finished(self) -> bool:
        """Whether nothing will be fed any more."""
        return self._finished

    @property
    def drained(self) -> bool:
        """Whether everything there will ever be has been read."""
        return self._finished and self._next >= len(self._pcm)

    @property
    def held(self) -> bool:
        """Whether silence is read until `go_on`."""
        return self._held

    def feed(self, pcm: bytes) -> None:
        """Add 48 kHz stereo s16le samples at the end; nothing once it is finished."""
        with self._lock:
            if self._finished:
                return
            self._forget_old()
            self._pcm += pcm
        if pcm and self._first_fed is None:
            self._first_fed = time.perf_counter()
            self._begun.set()

    def finish(self) -> None:
        """Say that this is all. What was fed is still read to its end."""
        with self._lock:
            self._finished = True
            self._fade_out_end()
        self._begun.set()

    def end(self) -> None:
        """Leave out whatever was not read yet, and finish."""
        with self._lock:
            del self._pcm[self._next + (0 if self._held else _FADE_BYTES) :]
            self._held = False
        self.finish()

    def take_back(self, count: int) -> None:
        """Drop the last `count` bytes that were fed, as far as they were not read yet."""
        with self._lock:
            unread = len(self._pcm) - self._next
            # The fade needs something to fade, or what was said so far would end with a click.
            kept = max(unread - count, min(unread, _FADE_BYTES))
            del self._pcm[self._next + kept :]
            self._fade_out_end()

    def hold(self) -> None:
        """Let silence be read, as long as nobody could hear speech."""
        self._held = True

    def go_back(self, position: int) -> None:
        """Read again from where `position` was, or from as far back as is still known."""
        with self._lock:
            self._next = min(self._next, max(0, position - self._forgotten))
            self._after_silence = True

    def go_on(self) -> None:
        """Let speech be read again."""
        self._after_silence = True
        self._held = False

    async def begun(self) -> None:
        """Wait until there is something to read, or it is clear that there will be nothing."""
        await self._begun.wait()

    def read(self) -> bytes:
        """Return 20 ms, or nothing once everything was read; called by the player's thread."""
        self.reads += 1
        with self._lock:
            if self._held:
                return _SILENCE
            if self.drained:
                return b""
            unread = len(self._pcm) - self._next
            if not self._flowing and not self._may_flow(unread):
                return _SILENCE
            frame = bytes(self._pcm[self._next : self._next + FRAME_BYTES])
            self._next += len(frame)
            rises, self._after_silence = self._after_silence, False
            # What is needed to fade must still be there when it turns out that no more has come.
            self._flowing = self._finished or unread >= FRAME_BYTES + _FADE_BYTES
            if not self._flowing:
                self.underruns += 1
                self._after_silence = True
                self._prebuffer = min(2 * self._prebuffer, _bytes_in(MAX_PREBUFFER_SECONDS))
            falls = not self._flowing
        if rises:
            frame = _faded_in(frame)
        if falls:
            frame = _faded_out(frame)
        return frame.ljust(FRAME_BYTES, b"\0")

    def is_opus(self) -> bool:
        """Discord.py encodes what is read."""
        return False

    def _may_flow(self, unread: int) -> bool:
        if self._finished or unread >= self._prebuffer:
            return True
        return (
            self.position == 0
            and unread >= FRAME_BYTES + _FADE_BYTES
            and self._first_fed is not None
            and time.perf_counter() - self._first_fed >= START_WITHIN_SECONDS
        )

    def _forget_old(self) -> None:
        old = self._next - _bytes_in(KEPT_SECONDS)
        if old > BYTES_PER_SECOND:
            del self._pcm[:old]
            self._next -= old
            self._forgotten += old

    def _fade_out_end(self) -> None:
        start = max(self._next, len(self._pcm) - _FADE_BYTES)
        self._pcm[start:] = _faded_out(bytes(self._pcm[start:]))


def _bytes_in(seconds: float) -> int:
    return round(seconds * DISCORD_SAMPLE_RATE) * 4


def _faded_in(pcm: bytes) -> bytes:
    return _faded(pcm[:_FADE_BYTES], 0.0, 1.0) + pcm[_FADE_BYTES:]


def _faded_out(pcm: bytes) -> bytes:
    start = max(0, len(pcm) - _FADE_BYTES)
    return pcm[:start] + _faded(pcm[start:], 1.0, 0.0)


def _faded(pcm: bytes, begin: float, end: float) -> bytes:
    samples = np.frombuffer(pcm, "<i2").reshape(-1, 2)
    slope = np.linspace(begin, end, len(samples), dtype=np.float32)[:, None]
    return (samples * slope).astype("<i2").tobytes()
