"""Speech that is heard and posted, but made once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from backend.contract import GenerationFailedError
from bot.playback.recording import Recording
from bot.streaming import SpeechChunk

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

CHUNKS = [
    SpeechChunk(b"aabb", 24_000, 1),
    SpeechChunk(b"xxxx", 24_000, 2),
    SpeechChunk(b"ccdd", 24_000, 2, restarts=True),
    SpeechChunk(b"ee", 24_000, 2),
    SpeechChunk(b"ff", 24_000, 3),
]


async def stream(error: Exception | None = None) -> AsyncGenerator[SpeechChunk, None]:
    for chunk in CHUNKS:
        await asyncio.sleep(0)
        yield chunk
    if error is not None:
        raise error


async def test_the_file_holds_what_counts() -> None:
    numbers: list[int] = []
    speech = await Recording().record(stream(), on_sentence=numbers.append)
    assert speech.pcm == b"aabbccddeeff"
    assert speech.breaks == (2, 5)
    assert numbers == [1, 2, 2, 2, 3]


async def test_who_follows_gets_everything_whenever_it_begins() -> None:
    recording = Recording()
    early = asyncio.create_task(followed(recording))
    await recording.record(stream(), on_sentence=lambda _number: None)
    assert await early == CHUNKS
    assert await followed(recording) == CHUNKS


async def test_who_follows_gets_the_error_after_what_there_is() -> None:
    recording = Recording()
    with pytest.raises(GenerationFailedError):
        await recording.record(stream(GenerationFailedError()), on_sentence=lambda _number: None)
    got: list[SpeechChunk] = []
    with pytest.raises(GenerationFailedError):
        await follow(recording, got)
    assert got == CHUNKS


async def test_who_follows_is_not_left_waiting_when_the_recording_is_stopped() -> None:
    async def endless() -> AsyncGenerator[SpeechChunk, None]:
        yield CHUNKS[0]
        await asyncio.Event().wait()

    recording = Recording()
    task = asyncio.create_task(recording.record(endless(), on_sentence=lambda _number: None))
    following = asyncio.create_task(followed(recording))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(GenerationFailedError):
        await asyncio.wait_for(following, 1)


async def follow(recording: Recording, got: list[SpeechChunk]) -> None:
    async for chunk in recording.follow():
        got.append(chunk)  # noqa: PERF401 - what came before an error counts


async def followed(recording: Recording) -> list[SpeechChunk]:
    return [chunk async for chunk in recording.follow()]
