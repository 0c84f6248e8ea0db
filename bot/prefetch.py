"""Several sentences of one text under way at once, heard in their order."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence

    from backend.contract import PcmChunk, SpeechRequest
    from bot.speech.backend import SpeechBackend


@asynccontextmanager
async def speak_ahead(
    backend: SpeechBackend, requests: Sequence[SpeechRequest]
) -> AsyncIterator[Iterator[AsyncGenerator[PcmChunk, None]]]:
    """Have sentences spoken, the next ones already while one is read.

    As many are asked for as the backend says it speaks at once. What is ready before its turn waits
    here: some sentences, so a few megabytes at the most. Leaving the block stops what is under way.

    Args:
        backend: Speaks.
        requests: One for each sentence.

    Yields:
        Each sentence's chunks, in order. Each raises what the backend raised for it, in its turn.
    """
    at_once = backend.info().sentences_at_once
    async with AsyncExitStack() as under_way:
        if at_once == 1:
            yield _one_by_one(backend, requests, under_way)
        else:
            yield _ahead(backend, requests, at_once, under_way)


def _one_by_one(
    backend: SpeechBackend, requests: Sequence[SpeechRequest], under_way: AsyncExitStack
) -> Iterator[AsyncGenerator[PcmChunk, None]]:
    for request in requests:
        chunks = backend.speak(request)
        under_way.push_async_callback(chunks.aclose)
        yield chunks


def _ahead(
    backend: SpeechBackend,
    requests: Sequence[SpeechRequest],
    at_once: int,
    under_way: AsyncExitStack,
) -> Iterator[AsyncGenerator[PcmChunk, None]]:
    begun: deque[_Sentence] = deque()
    waiting = deque(requests)
    while begun or waiting:
        while waiting and len(begun) < at_once:
            begun.append(_Sentence(backend, waiting.popleft()))
            under_way.push_async_callback(begun[-1].stop)
        yield begun[0].chunks()
        begun.popleft()


class _Sentence:
    """One sentence that a task of its own fetches."""

    def __init__(self, backend: SpeechBackend, request: SpeechRequest) -> None:
        self._ready: asyncio.Queue[PcmChunk | None] = asyncio.Queue()
        self._task = asyncio.create_task(self._fetch(backend, request))

    async def chunks(self) -> AsyncGenerator[PcmChunk, None]:
        while (chunk := await self._ready.get()) is not None:
            yield chunk
        await self._task  # raises what went wrong

    async def stop(self) -> None:
        self._task.cancel()
        # Nobody asks any more what went wrong with a sentence whose turn did not come.
        await asyncio.gather(self._task, return_exceptions=True)

    async def _fetch(self, backend: SpeechBackend, request: SpeechRequest) -> None:
        try:
            async with aclosing(backend.speak(request)) as chunks:
                async for chunk in chunks:
                    self._ready.put_nowait(chunk)
        finally:
            self._ready.put_nowait(None)
