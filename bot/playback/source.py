"""The audio source that discord.py's player thread reads, fed from the event loop."""

from __future__ import annotations

import asyncio
import threading
import time

import discord
import numpy as np

DISCORD_SAMPLE_RATE = 48_000
"""The sample rate of Discord's voice channels, in Hz."""

BYTES_PER_SECOND = DISCORD_SAMPLE_RATE * 2 * 2
FRAME_BYTES = discord.opus.Encoder.FRAME_SIZE
"""20 ms of 48 kHz stereo s16le: one Opus frame."""

FRAME_SECONDS = 0.02

PREBUFFER_SECONDS = 0.12
"""Playback starts once this much is buffered. With less, the buffer is often empty before the next
chunk comes."""

MAX_PREBUFFER_SECONDS = 1.6
"""The prebuffer doubles with each underrun, up to this."""

START_WITHIN_SECONDS = 0.15
"""The start waits no longer than this for the prebuffer to fill. The engine's first chunk has about
0.1 s, because the watermark holds the rest back. Its second chunk follows four frames later."""

LEAD_SECONDS = 0.2
"""Silence before speech on each connection, because some clients clip the first 0.1 to 0.2 s of a
stream. The prebuffer fills meanwhile."""

KEPT_SECONDS = 4.0
"""How much speech is kept after it was read, so that it can be repeated if it was lost."""

_FADE_BYTES = BYTES_PER_SECOND // 200
_SILENCE = bytes(FRAME_BYTES)


class SpeechSource(discord.AudioSource):
    """A buffer of speech that is played while it is still being produced.

    Unless it is rewound, every sample is read once, in order. While samples are missing, silence is
    read instead. The edges of speech are faded over 5 ms so that nothing clicks. discord.py's
    player thread calls `read`, which never waits; everything else is called on the event loop.

    Attributes:
        reads: How many frames the player thread has read; shows whether it is alive.
        underruns: How often the buffer ran out before the speech was finished.
        finished: Whether nothing more will be fed.
        lead_seconds: How much silence is still to be read before speech.
    """

    def __init__(self) -> None:
        self.reads = 0
        self.underruns = 0
        self.finished = False
        self._lock = threading.Lock()  # held only while some bytes are copied
        self._pcm = bytearray()
        self._next = 0  # the index in `_pcm` at which the next frame starts
        self._dropped = 0  # the number of bytes that were read and are no longer kept
        self._paused = False
        self._lead = 0  # how many frames of silence come before speech
        self._flowing = False
        self._after_silence = True
        self._prebuffer = _bytes_in(PREBUFFER_SECONDS)
        self._is_paced = False
        self._limit: int | None = None  # how far may be read
        self._has_started = False
        self._first_fed: float | None = None
        self._readable = asyncio.Event()

    @property
    def position(self) -> int:
        """How many bytes were read."""
        return self._dropped + self._next

    @property
    def length(self) -> int:
        """How many bytes were fed, without those that were retracted."""
        return self._dropped + len(self._pcm)

    @property
    def buffered_seconds(self) -> float:
        """How much speech is ready to be read."""
        return (len(self._pcm) - self._next) / BYTES_PER_SECOND

    @property
    def is_held(self) -> bool:
        """Whether nothing more may be read until `release`."""
        return self._limit is not None and self.position >= self._limit

    @property
    def lead_seconds(self) -> float:
        """How much silence is still to be read before speech; before `start`, all of it."""
        return self._lead * FRAME_SECONDS if self._has_started else LEAD_SECONDS

    @property
    def drained(self) -> bool:
        """Whether the source is finished and was read to its end."""
        return self.finished and self._next >= len(self._pcm)

    def feed(self, pcm: bytes) -> None:
        """Append 48 kHz stereo s16le samples; ignored once the source is finished."""
        with self._lock:
            if self.finished:
                return
            self._drop_old()
            self._pcm += pcm
        if pcm and self._first_fed is None:
            self._first_fed = time.perf_counter()
            self._readable.set()

    def finish(self) -> None:
        """Mark the speech as complete. The rest of it can still be read."""
        with self._lock:
            self.finished = True
            self._limit = None
            self._fade_out_end()
        self._readable.set()

    def stop(self) -> None:
        """Discard the speech that was not read yet, except for a short fade, and finish."""
        with self._lock:
            is_silent = self._paused or self.is_held
            del self._pcm[self._next + (0 if is_silent else _FADE_BYTES) :]
            self._paused = False
        self.finish()

    def retract(self, count: int) -> None:
        """Discard the last `count` bytes that were fed, except those that were read already."""
        with self._lock:
            unread = len(self._pcm) - self._next
            # Keep enough for a fade. Otherwise the speech before it would end with a click.
            kept = max(unread - count, min(unread, _FADE_BYTES))
            del self._pcm[self._next + kept :]
            self._fade_out_end()

    def hold(self) -> None:
        """Read silence until `release`. From now on, that is also done when the buffer runs out."""
        with self._lock:
            self._is_paced = True
            self._limit = self.position

    def release(self, *, until: int | None = None) -> None:
        """Let speech be read: all, or up to a position, where it is held again.

        Does nothing if that position was read already.
        """
        with self._lock:
            if until is not None and until <= self.position:
                return
            if self.is_held:
                self._prebuffer = _bytes_in(PREBUFFER_SECONDS)
            self._limit = None if self.finished else until

    def pause(self) -> None:
        """Read silence until `start`."""
        self._paused = True

    def rewind(self, position: int) -> None:
        """Go back to an earlier `position`, or as far back as speech is still kept."""
        with self._lock:
            self._next = min(self._next, max(0, position - self._dropped))
            self._after_silence = True

    def start(self) -> None:
        """Begin to be played, or go on after `pause`: with a short silence, then speech."""
        with self._lock:
            self._after_silence = True
            self._lead = round(LEAD_SECONDS / FRAME_SECONDS)
            self._paused = False
            self._has_started = True

    async def until_readable(self) -> None:
        """Wait until there is something to read, or the source is finished."""
        await self._readable.wait()

    def read(self) -> bytes:
        """Return the next 20 ms, or nothing once drained; called by the player thread."""
        self.reads += 1
        with self._lock:
            if self._paused:
                return _SILENCE
            if self.drained:
                return b""
            if self._lead:
                self._lead -= 1
                return _SILENCE
            if self.is_held:
                self._flowing = False
                return _SILENCE
            unread = len(self._pcm) - self._next
            if not self._flowing and not self._may_flow(unread):
                return _SILENCE
            frame = bytes(self._pcm[self._next : self._next + self._most_bytes()])
            self._next += len(frame)
            rises, self._after_silence = self._after_silence, False
            # If nothing more is fed, the next frame is the last one before silence. It needs enough
            # samples for a fade-out, so with fewer the fade-out happens in this frame.
            has_more = self.finished or unread >= FRAME_BYTES + _FADE_BYTES
            self._flowing = has_more and not self.is_held
            if not has_more:
                self.underruns += 1
                self._prebuffer = min(2 * self._prebuffer, _bytes_in(MAX_PREBUFFER_SECONDS))
                if self._is_paced:
                    self._limit = self.position
            falls = self._after_silence = not self._flowing
        if rises:
            frame = _faded(frame[:_FADE_BYTES], 0.0, 1.0) + frame[_FADE_BYTES:]
        if falls:
            frame = _faded_out(frame)
        return frame.ljust(FRAME_BYTES, b"\0")

    def _most_bytes(self) -> int:
        """How much the next frame may have."""
        return FRAME_BYTES if self._limit is None else min(FRAME_BYTES, self._limit - self.position)

    def _may_flow(self, unread: int) -> bool:
        """Whether enough is buffered to start, or to resume after an underrun."""
        if self.finished or unread >= self._prebuffer:
            return True
        return (
            self.position == 0
            and unread >= FRAME_BYTES + _FADE_BYTES
            and self._first_fed is not None
            and time.perf_counter() - self._first_fed >= START_WITHIN_SECONDS
        )

    def _drop_old(self) -> None:
        old = self._next - _bytes_in(KEPT_SECONDS)
        if old > BYTES_PER_SECOND:
            del self._pcm[:old]
            self._next -= old
            self._dropped += old

    def _fade_out_end(self) -> None:
        start = max(self._next, len(self._pcm) - _FADE_BYTES)
        self._pcm[start:] = _faded_out(bytes(self._pcm[start:]))


def _bytes_in(seconds: float) -> int:
    return round(seconds * DISCORD_SAMPLE_RATE) * 4


def _faded_out(pcm: bytes) -> bytes:
    start = max(0, len(pcm) - _FADE_BYTES)
    return pcm[:start] + _faded(pcm[start:], 1.0, 0.0)


def _faded(pcm: bytes, begin: float, end: float) -> bytes:
    samples = np.frombuffer(pcm, "<i2").reshape(-1, 2)
    slope = np.linspace(begin, end, len(samples), dtype=np.float32)[:, None]
    return (samples * slope).astype("<i2").tobytes()
