"""The speed of speech: the one place where it is changed, for files, voice channels and the API."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

from bot.audio.tempo import Tempo

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from bot.streaming import SpeechChunk
    from bot.text import Sentence

_SECONDS_AT_A_TIME = 0.5
"""A chunk can be a whole sentence. Between pieces of it, others have their turn."""


async def at_speed(
    chunks: AsyncGenerator[SpeechChunk, None], speed: float
) -> AsyncGenerator[SpeechChunk, None]:
    """Make a stream faster or slower while it is generated, at the same pitch.

    Args:
        chunks: The stream.
        speed: How many times as fast; at 1, the stream is passed on as it is.
    """
    tempo: Tempo | None = None
    restarts = False
    last: SpeechChunk | None = None
    async with aclosing(chunks):
        async for chunk in chunks:
            if speed == 1.0:
                yield chunk
                continue
            if last is not None and tempo is not None and chunk.sentence > last.sentence:
                if not chunk.restarts and (rest := tempo.finish()):
                    yield replace(last, pcm=rest, restarts=restarts)
                    restarts = False
                tempo = None
            if tempo is None or chunk.restarts:
                tempo = Tempo(chunk.sample_rate, speed)
            restarts = restarts or chunk.restarts
            last = chunk
            ready = await _pushed(tempo, chunk)
            if chunk.ends_sentence:
                ready, tempo = ready + tempo.finish(), None
            if ready:
                yield replace(chunk, pcm=ready, restarts=restarts)
                restarts = False
    if tempo is not None and last is not None and (rest := tempo.finish()):
        yield replace(last, pcm=rest, restarts=restarts)


def stretched_silence(sentences: Sequence[Sentence], speed: float) -> list[Sentence]:
    """Return sentences whose typed silence has its length after `at_speed`."""
    return [
        replace(
            sentence,
            silence_before=sentence.silence_before * speed,
            silence_after=sentence.silence_after * speed,
        )
        for sentence in sentences
    ]


async def _pushed(tempo: Tempo, chunk: SpeechChunk) -> bytes:
    step = 2 * round(_SECONDS_AT_A_TIME * chunk.sample_rate)
    ready = []
    for begin in range(0, len(chunk.pcm), step):
        ready.append(tempo.push(chunk.pcm[begin : begin + step]))
        await asyncio.sleep(0)
    return b"".join(ready)
