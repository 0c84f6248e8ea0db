"""Speech that is heard in a voice channel and posted as a file as well, but made only once."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

from backend.contract import GenerationFailedError
from bot.audio.joining import JoinedSpeech

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from bot.streaming import SpeechChunk


class Recording:
    """Keeps a stream of speech, and lets somebody else follow it from its beginning."""

    def __init__(self) -> None:
        self._chunks: list[SpeechChunk] = []
        self._error: Exception | None = None
        self._complete = False
        self._changed = asyncio.Event()

    async def record(
        self,
        speech: AsyncGenerator[SpeechChunk, None],
        *,
        on_sentence: Callable[[int], None],
    ) -> JoinedSpeech:
        """Take a stream to its end as fast as it is made; return what it sounds like.

        `on_sentence` is called with the number, from 1, of each sentence that begins.
        """
        try:
            async with aclosing(speech):
                async for chunk in speech:
                    on_sentence(chunk.sentence)
                    self._chunks.append(chunk)
                    self._wake()
        except Exception as error:
            self._error = error
            raise
        except asyncio.CancelledError:
            self._error = GenerationFailedError("the recording was stopped")
            raise
        finally:
            self._complete = True
            self._wake()
        return await asyncio.to_thread(_joined, self._chunks)

    async def follow(self) -> AsyncGenerator[SpeechChunk, None]:
        """Go through the chunks as they come in. Raises what `record` raises."""
        place = 0
        while True:
            changed = self._changed
            while place < len(self._chunks):
                place += 1
                yield self._chunks[place - 1]
            if self._complete:
                break
            await changed.wait()
        if self._error is not None:
            raise self._error

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


def _joined(chunks: list[SpeechChunk]) -> JoinedSpeech:
    """What remains of a stream once every sentence that restarted has lost its first attempt."""
    sentences: dict[int, list[bytes]] = {}
    for chunk in chunks:
        if chunk.restarts:
            sentences[chunk.sentence] = []
        sentences.setdefault(chunk.sentence, []).append(chunk.pcm)
    spoken = [b"".join(parts) for _, parts in sorted(sentences.items())]
    ends = [0]
    for pcm in spoken:
        ends.append(ends[-1] + len(pcm) // 2)
    return JoinedSpeech(b"".join(spoken), chunks[0].sample_rate, tuple(ends[1:-1]))
