"""Reads speech from the backend, and feeds it to the source that it is played from."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from contextlib import aclosing
from typing import TYPE_CHECKING

import numpy as np
import soxr

from bot.playback.pacing import Pacing, Sentences
from bot.playback.source import DISCORD_SAMPLE_RATE

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from bot.playback.source import SpeechSource
    from bot.production import Production
    from bot.streaming import SpeechChunk

MAX_BUFFERED_SECONDS = 10.0
"""While this much is buffered, the producer reads no more speech, so the backend pauses too. Where
speech comes slowly, `pacing.py` allows more."""

POLL_SECONDS = 0.1
SLICE_SECONDS = 0.5
"""Longer chunks are resampled in slices of this length, so that the event loop is never blocked."""

_INT16 = np.iinfo(np.int16)


class Producer:
    """Feeds a source with speech, at most `MAX_BUFFERED_SECONDS` before it is played.

    A sentence that restarts replaces its first attempt, if none of that was played. Otherwise it is
    not said a second time: the first attempt is played to where it was cut.

    Args:
        speech: Opens the stream of speech; called once, after `start`.
        source: The source to feed.
        production: Tells how the speech comes. Without it, the source is played as soon as there is
            something to be heard.

    Attributes:
        error: The exception that ended the stream, if one did. The source keeps the speech so far.
        pacing: Holds the source back while speech would come too late; None without `production`.
    """

    def __init__(
        self,
        speech: Callable[[], AsyncGenerator[SpeechChunk, None]],
        source: SpeechSource,
        production: Production | None = None,
    ) -> None:
        self.error: Exception | None = None
        self._speech = speech
        self._source = source
        self._task: asyncio.Task[None] | None = None
        self._sentences = Sentences([], [])
        self.pacing = None if production is None else Pacing(source, production, self._sentences)

    @property
    def has_started(self) -> bool:
        """Whether `start` was called."""
        return self._task is not None

    @property
    def is_running(self) -> bool:
        """Whether it has started and not ended yet."""
        return self._task is not None and not self._task.done()

    def start(self, *, on_end: Callable[[], None]) -> None:
        """Start the producer, unless it has started; `on_end` is called when it has ended."""
        if self._task is None:
            self._task = asyncio.create_task(self._produce())
            self._task.add_done_callback(lambda _task: on_end())

    async def stop(self) -> None:
        """Close the stream of speech, wait until it is closed, and finish the source."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._source.finish()

    def sentence_at(self, position: int) -> int:
        """Return the number, from 1, of the sentence at a byte position of the source."""
        index = bisect_right(self._sentences.begins, position)
        return self._sentences.numbers[index - 1] if index else 1

    async def _produce(self) -> None:
        pacing = None if self.pacing is None else asyncio.create_task(_keep_updated(self.pacing))
        try:
            async with aclosing(self._speech()) as chunks:
                await self._pull(chunks)
        except Exception as error:  # noqa: BLE001 - raised by `QueueEntry.heard`
            self.error = error
        finally:
            self._source.finish()
            if pacing is not None:
                pacing.cancel()

    async def _pull(self, chunks: AsyncGenerator[SpeechChunk, None]) -> None:
        upsampler: Upsampler | None = None
        source, begins, numbers = self._source, self._sentences.begins, self._sentences.numbers
        cut = 0  # the number of the sentence whose second attempt is left out
        async for chunk in chunks:
            if chunk.restarts and source.position > begins[-1]:
                cut = chunk.sentence
            if chunk.sentence == cut:
                continue
            if upsampler is None or chunk.restarts:
                upsampler = Upsampler(chunk.sample_rate)
            if chunk.restarts:
                source.retract(source.length - begins[-1])
            if not numbers or chunk.sentence > numbers[-1]:
                numbers.append(chunk.sentence)
                begins.append(source.length)
            step = round(SLICE_SECONDS * chunk.sample_rate) * 2
            for start in range(0, len(chunk.pcm), step):
                source.feed(upsampler.push(chunk.pcm[start : start + step]))
                if self.pacing is not None and start == 0:
                    self.pacing.update()
                await self._until_needed()
        if upsampler is not None:
            source.feed(upsampler.push(b"", last=True))

    async def _until_needed(self) -> None:
        """Let other tasks run, and wait while enough is buffered."""
        source = self._source
        await asyncio.sleep(0)
        # The player thread, which empties the buffer, sets no event.
        while source.buffered_seconds > self._most_buffered() and not source.finished:  # noqa: ASYNC110
            await asyncio.sleep(POLL_SECONDS)

    def _most_buffered(self) -> float:
        more = None if self.pacing is None else self.pacing.most_buffered_seconds
        return MAX_BUFFERED_SECONDS if more is None else more


async def _keep_updated(pacing: Pacing) -> None:
    while True:
        await asyncio.sleep(POLL_SECONDS)
        pacing.update()


class Upsampler:
    """Resamples a stream of mono PCM to 48 kHz stereo without audible edges between chunks.

    The output does not depend on how the input is cut into chunks. soxr holds back some 35 ms
    until more comes in, or until the last chunk. Half a second of speech takes 0.3 ms.

    Args:
        sample_rate: Of the input, in Hz.
    """

    def __init__(self, sample_rate: int) -> None:
        # In floating point: soxr dithers integers, differently for every chunk size.
        self._stream = soxr.ResampleStream(
            sample_rate, DISCORD_SAMPLE_RATE, 1, dtype="float32", quality="HQ"
        )

    def push(self, pcm: bytes, *, last: bool = False) -> bytes:
        """Take mono s16le samples; return the stereo samples that are complete.

        With `last`, all remaining samples are returned, and nothing can be pushed afterwards.
        """
        samples = np.frombuffer(pcm, "<i2").astype(np.float32)
        resampled = self._stream.resample_chunk(samples, last=last)
        mono = np.rint(resampled).clip(_INT16.min, _INT16.max).astype("<i2")
        return np.repeat(mono, 2).tobytes()
