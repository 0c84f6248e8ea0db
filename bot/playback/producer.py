"""Speech on its way from a backend to the source that it is read from."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from contextlib import aclosing
from typing import TYPE_CHECKING

from bot.playback.resampling import Upsampler

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from bot.playback.source import SpeechSource
    from bot.streaming import SpeechChunk

AHEAD_SECONDS = 10.0
"""How much speech is made before it is heard; then the backend has to wait."""

LOOK_SECONDS = 0.1
PIECE_SECONDS = 0.5
"""Longer chunks are resampled in pieces, so that the event loop is never busy for long."""


class SpeechMaking:
    """Pulls speech from where it is made into a source, as far ahead as it may.

    Attributes:
        error: What went wrong, once it did. What was made by then stays in the source.
    """

    def __init__(
        self, speech: Callable[[], AsyncGenerator[SpeechChunk, None]], source: SpeechSource
    ) -> None:
        self.error: Exception | None = None
        self._speech = speech
        self._source = source
        self._task: asyncio.Task[None] | None = None
        self._begins: list[int] = []  # in bytes of the source, of each sentence in `_numbers`
        self._numbers: list[int] = []

    @property
    def started(self) -> bool:
        """Whether it has begun."""
        return self._task is not None

    @property
    def under_way(self) -> bool:
        """Whether it has begun and goes on."""
        return self._task is not None and not self._task.done()

    def start(self, *, on_end: Callable[[], None]) -> None:
        """Begin, unless it has; `on_end` is called when nothing more is made."""
        if self._task is None:
            self._task = asyncio.create_task(self._make())
            self._task.add_done_callback(lambda _task: on_end())

    async def stop(self) -> None:
        """Make no more, and wait until the backend knows."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._source.finish()

    def sentence_at(self, position: int) -> int:
        """The number, from 1, of the sentence that a byte of the source belongs to."""
        place = bisect_right(self._begins, position)
        return self._numbers[place - 1] if place else 1

    async def _make(self) -> None:
        try:
            async with aclosing(self._speech()) as chunks:
                await self._pull(chunks)
        except Exception as error:  # noqa: BLE001 - whoever waits for the item gets it
            self.error = error
        finally:
            self._source.finish()

    async def _pull(self, chunks: AsyncGenerator[SpeechChunk, None]) -> None:
        upsampler: Upsampler | None = None
        async for chunk in chunks:
            if upsampler is None or chunk.restarts:
                upsampler = Upsampler(chunk.sample_rate)
            if chunk.restarts:
                self._source.take_back(self._source.length - self._begins[-1])
            if not self._numbers or chunk.sentence > self._numbers[-1]:
                self._numbers.append(chunk.sentence)
                self._begins.append(self._source.length)
            step = round(PIECE_SECONDS * chunk.sample_rate) * 2
            for start in range(0, len(chunk.pcm), step):
                self._source.feed(upsampler.push(chunk.pcm[start : start + step]))
                await self._let_others_work()
        if upsampler is not None:
            self._source.feed(upsampler.flush())

    async def _let_others_work(self) -> None:
        pause = 0.0
        while True:
            await asyncio.sleep(pause)
            if self._source.buffered_seconds <= AHEAD_SECONDS or self._source.finished:
                return
            pause = LOOK_SECONDS
