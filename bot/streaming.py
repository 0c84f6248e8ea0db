"""Streams the speech of several sentences, with pauses, and collects a stream for a file.

A stream has the loudness that the model gave it. `collect` and `leveled` bring it to that of all
speech that goes out.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Protocol

import numpy as np

from backend.contract import (
    MAX_NEW_TOKENS,
    GenerationFailedError,
    SpeechError,
    SpeechRequest,
)
from bot.audio import loudness
from bot.audio.pauses import CUT_SECONDS, PauseJoiner
from bot.errors import Refusal
from bot.pace import Pace
from bot.production import MeasuredBackend, Production

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence

    from backend.contract import BackendInfo, PcmChunk, VoicePrompt
    from bot.speech.backend import SpeechModel
    from bot.text import Sentence


UP_DECIBELS_PER_SECOND = 6.0
DOWN_DECIBELS_PER_SECOND = 24.0
"""How fast the gain of live speech follows what is measured in the first sentence."""


@dataclass(frozen=True, slots=True)
class SpeechChunk:
    """A part of the speech of several sentences.

    Attributes:
        pcm: Mono s16le samples, never none.
        sample_rate: In Hz; the same for every chunk of a stream.
        sentence: The number, from 1, of its sentence. The pause after a sentence belongs to it.
        restarts: Whether the sentence begins again with this chunk. Its earlier chunks must then be
            dropped.
        ends_sentence: Whether this is the sentence's last chunk and another sentence follows.
        loudness: What loudness the voice seems to have, in LUFS; None if unknown.
    """

    pcm: bytes = field(repr=False)
    sample_rate: int
    sentence: int = 1
    restarts: bool = False
    ends_sentence: bool = False
    loudness: float | None = None


@dataclass(frozen=True, slots=True)
class Speech:
    """The speech of a whole text.

    Attributes:
        pcm: Mono s16le samples.
        sample_rate: In Hz.
        breaks: Where a file may be cut, as sample indices, one in each pause between sentences.
        loudness: What loudness the voice seems to have before levelling, in LUFS; None if unknown.
        sentences: How many sentences it has.
        error: Why it ends before the text does, the backend's error or a limit; None if it doesn't.
    """

    pcm: bytes = field(repr=False)
    sample_rate: int
    breaks: tuple[int, ...]
    loudness: float | None = None
    sentences: int = 1
    error: SpeechError | Refusal | None = None

    @property
    def seconds(self) -> float:
        """Length of the speech."""
        return len(self.pcm) / 2 / self.sample_rate

    def after(self, seconds: float) -> Speech:
        """Return the rest of the speech, without the first `seconds` of it."""
        start = round(seconds * self.sample_rate)
        breaks = tuple(position - start for position in self.breaks if position > start)
        return Speech(self.pcm[2 * start :], self.sample_rate, breaks)


class Speaks(Protocol):
    """What is needed of a speech backend here."""

    def info(self) -> BackendInfo:
        """Describe it."""

    def speak(self, request: SpeechRequest) -> AsyncGenerator[PcmChunk, None]:
        """Yield the speech of one sentence."""
        ...


async def stream_speech(  # noqa: PLR0913 - what to say, how, and who wants to know
    backend: SpeechModel,
    sentences: Sequence[Sentence],
    prompt: VoicePrompt,
    *,
    language: str,
    caller: str = "",
    production: Production | None = None,
    seed: int | None = None,
    max_new_tokens: int = MAX_NEW_TOKENS,
) -> AsyncGenerator[SpeechChunk, None]:
    """Yield the speech of some sentences, in order, each chunk as soon as it is generated.

    Args:
        backend: The speech backend.
        sentences: What to say.
        prompt: The voice prompt.
        language: One of the backend's languages.
        caller: The caller that the requests count for, see `SpeechRequest`.
        production: Where it is recorded what has come; begins anew.
        seed: The seed of each sentence, see `SpeechRequest`.
        max_new_tokens: The most codec frames of each sentence.

    Raises `GenerationFailedError` if all of it is silent, and whatever the backend raises.
    """
    requests = [
        SpeechRequest(each.text, prompt, language, seed, caller, max_new_tokens)
        for each in sentences
    ]
    joiner: PauseJoiner | None = None
    last_sounding = 0  # number of the last sentence that had sound
    measured = MeasuredBackend(backend, production or Production(Pace(), sentences))
    async with prefetch(measured, requests) as answers:
        for number, (sentence, chunks) in enumerate(zip(sentences, answers, strict=True), 1):
            follows = number < len(sentences)
            begun = restarts = False
            sample_rate = 0
            async for chunk in chunks:
                sample_rate = chunk.sample_rate
                joiner = joiner or PauseJoiner(
                    sample_rate, silence_before=sentences[0].silence_before
                )
                if chunk.restarts:
                    joiner.restart_sentence()
                    restarts = begun
                if pcm := joiner.push(chunk.pcm):
                    yield SpeechChunk(pcm, sample_rate, number, restarts)
                    begun, restarts = True, False
            if joiner is None or not sample_rate:
                raise GenerationFailedError("the backend sent no audio")
            pcm = joiner.end_sentence(
                pause=follows,
                ends_paragraph=sentence.ends_paragraph,
                silence=sentence.silence_after,
            )
            if joiner.had_sound:
                last_sounding = number
            if pcm:  # for a silent sentence, a longer pause that belongs to the sentence before
                restarts = restarts and joiner.had_sound
                yield SpeechChunk(pcm, sample_rate, last_sounding, restarts, ends_sentence=follows)
    if not last_sounding:
        raise GenerationFailedError("the backend sent silence")


@asynccontextmanager
async def prefetch(
    backend: Speaks, requests: Sequence[SpeechRequest]
) -> AsyncIterator[Iterator[AsyncGenerator[PcmChunk, None]]]:
    """Request the speech of sentences. While one sentence is read, the next ones are prefetched.

    The number of simultaneous requests is the backend's `sentences_at_once`. Chunks are buffered
    until they are read: those of a few sentences, so some megabytes at most. At the end of the
    block, the requests that are still running are cancelled.

    Args:
        backend: The speech backend.
        requests: One for each sentence.

    Yields:
        Each sentence's chunks, in order. Reading them raises what the backend raised for them.
    """
    at_once = backend.info().sentences_at_once
    if at_once == 1:  # no task is used, so the backend generates only while its answer is read
        async with AsyncExitStack() as begun:

            def one_by_one() -> Iterator[AsyncGenerator[PcmChunk, None]]:
                for request in requests:
                    answer = backend.speak(request)
                    begun.push_async_callback(answer.aclose)
                    yield answer

            yield one_by_one()
        return
    answers: list[_Answer] = []

    def in_order() -> Iterator[AsyncGenerator[PcmChunk, None]]:
        for number in range(len(requests)):
            while len(answers) < min(number + at_once, len(requests)):
                answers.append(_Answer(backend, requests[len(answers)]))
            yield answers[number].chunks()

    try:
        yield in_order()
    finally:
        for answer in answers:
            answer.task.cancel()
        await asyncio.gather(*(answer.task for answer in answers), return_exceptions=True)


class _Answer:
    """The answer of a backend to one request, fetched by a separate task."""

    def __init__(self, backend: Speaks, request: SpeechRequest) -> None:
        self._chunks: asyncio.Queue[PcmChunk | None] = asyncio.Queue()
        self.task = asyncio.create_task(self._fetch(backend, request))

    async def chunks(self) -> AsyncGenerator[PcmChunk, None]:
        while (chunk := await self._chunks.get()) is not None:
            yield chunk
        await self.task  # raises the backend's error, if there was one

    async def _fetch(self, backend: Speaks, request: SpeechRequest) -> None:
        try:
            async with aclosing(backend.speak(request)) as chunks:
                async for chunk in chunks:
                    self._chunks.put_nowait(chunk)
        finally:
            self._chunks.put_nowait(None)


async def collect(
    chunks: AsyncGenerator[SpeechChunk, None], *, on_sentence: Callable[[int], None]
) -> Speech:
    """Read a stream to its end as fast as it is generated, and level it, for a file.

    If the backend fails, or a limit is reached, what was spoken so far is not thrown away: the
    result has the sentences before that one, and the error.

    Args:
        chunks: The stream.
        on_sentence: Called with the number, from 1, of each sentence as it begins.

    Raises what the stream raises if no sentence was complete by then.
    """
    sentence = 1
    on_sentence(sentence)
    kept: dict[int, list[bytes]] = {}
    sample_rate = 0
    expected: float | None = None
    failure: SpeechError | Refusal | None = None
    try:
        async with aclosing(chunks):
            async for chunk in chunks:
                current = chunk.sentence + 1 if chunk.ends_sentence else chunk.sentence
                if current > sentence:
                    sentence = current
                    on_sentence(sentence)
                if chunk.restarts:
                    kept[chunk.sentence] = []
                kept.setdefault(chunk.sentence, []).append(chunk.pcm)
                sample_rate, expected = chunk.sample_rate, chunk.loudness
    except (SpeechError, Refusal) as error:
        kept.pop(sentence, None)
        if not any(pcm.strip(b"\0") for parts in kept.values() for pcm in parts):
            raise
        failure = error
    speech = await asyncio.to_thread(_speech, list(kept.values()), sample_rate, expected)
    return replace(speech, sentences=max(kept, default=1), error=failure)


def _speech(sentences: list[list[bytes]], sample_rate: int, expected: float | None) -> Speech:
    joined = [b"".join(parts) for parts in sentences]
    spoken = loudness.level(joined, sample_rate, expected=expected)
    ends = accumulate(len(pcm) // 2 for pcm in spoken[:-1])
    before_end = round(CUT_SECONDS * sample_rate)
    breaks = tuple(end - before_end for end in ends)
    return Speech(b"".join(spoken), sample_rate, breaks, expected)


async def leveled(chunks: AsyncGenerator[SpeechChunk, None]) -> AsyncGenerator[SpeechChunk, None]:
    """Level a stream while it is generated. That adds `loudness.LIMITER_SECONDS`.

    A sentence has the gain that its first chunk's `loudness` asks for. In the first sentence, the
    gain follows the later chunks' `loudness`, slowly enough not to be noticed.
    """
    leveler: _Leveler | None = None
    restarts = False
    async with aclosing(chunks):
        async for chunk in chunks:
            if (
                leveler is not None
                and chunk.sentence > leveler.last.sentence
                and not chunk.restarts
            ):
                if rest := leveler.finish():
                    yield replace(leveler.last, pcm=rest, restarts=False)
                leveler = None
            if leveler is None or chunk.restarts:
                leveler = _Leveler(chunk)
            restarts = restarts or chunk.restarts
            for pcm in leveler.push(chunk):
                yield replace(chunk, pcm=pcm, restarts=restarts, ends_sentence=False)
                restarts = False
                await asyncio.sleep(0)  # a chunk can be a whole sentence, and others wait
            if chunk.ends_sentence:
                yield replace(chunk, pcm=leveler.finish(), restarts=restarts)
                leveler, restarts = None, False
    if leveler is not None and (rest := leveler.finish()):
        yield replace(leveler.last, pcm=rest, restarts=restarts)


class _Leveler:
    """Levels one sentence.

    Args:
        first: Its first chunk.

    Attributes:
        last: The last chunk that was pushed.
    """

    def __init__(self, first: SpeechChunk) -> None:
        self.last = first
        self._limiter = loudness.Limiter(first.sample_rate)
        self._gain = loudness.gain_for(first.loudness)

    def push(self, chunk: SpeechChunk) -> Iterator[bytes]:
        """Yield samples as they get certain, in short pieces."""
        self.last = chunk
        wanted = loudness.gain_for(chunk.loudness) if chunk.sentence == 1 else self._gain
        for piece in loudness.slices(loudness.to_float(chunk.pcm), chunk.sample_rate):
            seconds = len(piece) / chunk.sample_rate
            highest = self._gain + UP_DECIBELS_PER_SECOND * seconds
            lowest = self._gain - DOWN_DECIBELS_PER_SECOND * seconds
            gain = min(max(wanted, lowest), highest)
            slope = np.linspace(
                loudness.factor(self._gain), loudness.factor(gain), len(piece), dtype=np.float32
            )
            self._gain = gain
            if len(certain := self._limiter.push(piece * slope)):
                yield loudness.to_pcm(certain)

    def finish(self) -> bytes:
        """Return the last samples."""
        return loudness.to_pcm(self._limiter.finish())


class SharedStream:
    """A stream of speech that is generated once and read twice: collected for a file, and followed.

    Args:
        chunks: The stream. It is read while `collect` runs.
    """

    def __init__(self, chunks: AsyncGenerator[SpeechChunk, None]) -> None:
        self._source = chunks
        self._chunks: list[SpeechChunk] = []
        self._error: Exception | None = None
        self._ended = False
        self._changed = asyncio.Event()

    async def collect(self, *, on_sentence: Callable[[int], None]) -> Speech:
        """Read the stream to its end as fast as it is generated, like the function `collect`."""
        return await collect(self._record(), on_sentence=on_sentence)

    async def follow(self) -> AsyncGenerator[SpeechChunk, None]:
        """Yield all chunks from the beginning, as they come in. Raises what `collect` raises."""
        position = 0
        while True:
            while position < len(self._chunks):
                yield self._chunks[position]
                position += 1
            if self._ended:
                break
            await self._changed.wait()
        if self._error is not None:
            raise self._error

    async def _record(self) -> AsyncGenerator[SpeechChunk, None]:
        try:
            async with aclosing(self._source):
                async for chunk in self._source:
                    self._chunks.append(chunk)
                    self._notify()
                    yield chunk
        except Exception as error:
            self._error = error
            raise
        except (asyncio.CancelledError, GeneratorExit):
            self._error = GenerationFailedError("the stream was stopped")
            raise
        finally:
            self._ended = True
            self._notify()

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
