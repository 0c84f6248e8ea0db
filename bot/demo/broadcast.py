"""What is said in the simulated voice channel, for everybody who listens in a browser."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import discord

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

SECONDS_PER_PACKET = discord.opus.Encoder.FRAME_LENGTH / 1000
LATE_SECONDS = 0.06
"""A packet that is later than this, when nobody spoke before, is taken for silence."""

LATE_IN_SPEECH_SECONDS = 0.5
"""The same within speech. Silence put there in haste is heard: Opus takes 150 ms to recover."""

MAX_WAITING = 250
"""Packets that wait for a listener who does not read, five seconds; what comes then is lost."""

SILENCE = discord.opus.OPUS_SILENCE


class Broadcast:
    """Passes Opus packets of 20 ms on to listeners, and silence while nobody speaks."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._listeners: set[asyncio.Queue[bytes]] = set()

    def send(self, opus: bytes) -> None:
        """Let everybody hear a packet; called by the player's thread."""
        self._loop.call_soon_threadsafe(self._pass_on, opus)

    async def packets(self) -> AsyncGenerator[bytes, None]:
        """Hear the channel from now on, without an end: as many packets as time goes by."""
        waiting: asyncio.Queue[bytes] = asyncio.Queue(MAX_WAITING)
        self._listeners.add(waiting)
        due = time.perf_counter()
        packet = SILENCE
        try:
            while True:
                # discord.py's player ends what it says with silence.
                patience = LATE_SECONDS if packet == SILENCE else LATE_IN_SPEECH_SECONDS
                try:
                    async with asyncio.timeout(due + patience - time.perf_counter()):
                        packet = await waiting.get()
                except TimeoutError:
                    packet = SILENCE
                due += SECONDS_PER_PACKET
                yield packet
        finally:
            self._listeners.discard(waiting)

    def _pass_on(self, opus: bytes) -> None:
        for waiting in self._listeners:
            with suppress(asyncio.QueueFull):
                waiting.put_nowait(opus)
