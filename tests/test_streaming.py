"""Sentences on their way from a backend to whoever listens."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from backend.contract import GenerationFailedError, PcmChunk, SpeechRequest, VoicePrompt
from bot.streaming import SpeechChunk, prefetch, stream_speech
from bot.text import Sentence
from tests.support.scripted_backend import SAMPLE_RATE, ScriptedBackend, tone

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from backend.contract import BackendInfo

PROMPT = VoicePrompt(b"300", "scripted/1")
SENTENCES = [Sentence("One.", ends_paragraph=False), Sentence("Two.", ends_paragraph=True)]


class Chunked(ScriptedBackend):
    """Answers each sentence with what a test gives it."""

    def __init__(self, answer: Callable[[str], list[PcmChunk]]) -> None:
        super().__init__()
        self._answer = answer

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[PcmChunk, None]:
        for chunk in self._answer(request.text):
            yield chunk


def sound(pitch: int, characters: int, *, restarts: bool = False) -> PcmChunk:
    return PcmChunk(tone(pitch, characters), SAMPLE_RATE, restarts)


async def chunks_of(answer: Callable[[str], list[PcmChunk]]) -> list[SpeechChunk]:
    speech = stream_speech(Chunked(answer), SENTENCES, PROMPT, language="English")
    return [chunk async for chunk in speech]


async def test_chunks_know_their_sentence() -> None:
    chunks = await chunks_of(lambda _text: [sound(300, 4), sound(300, 4)])
    numbers = [chunk.sentence for chunk in chunks]
    assert numbers == sorted(numbers)
    assert set(numbers) == {1, 2}
    seconds = sum(len(chunk.pcm) for chunk in chunks) / 2 / SAMPLE_RATE
    assert seconds == pytest.approx(4 * 4 * 0.05 + 0.3 + 0.06, abs=0.02)


async def test_a_restart_is_passed_on_with_the_first_sound_after_it() -> None:
    silence = PcmChunk(bytes(4_800), SAMPLE_RATE, restarts=True)
    chunks = await chunks_of(lambda _text: [sound(300, 9), silence, sound(500, 4)])
    assert [chunk.restarts for chunk in chunks if chunk.sentence == 1][:2] == [False, True]
    again = [chunk for chunk in chunks if chunk.restarts]
    assert [chunk.sentence for chunk in again] == [1, 2]


async def test_a_restart_before_any_sound_is_not_passed_on() -> None:
    silence = PcmChunk(bytes(4_800), SAMPLE_RATE)
    chunks = await chunks_of(lambda _text: [silence, sound(500, 4, restarts=True)])
    assert not any(chunk.restarts for chunk in chunks)


async def test_chunks_are_never_empty() -> None:
    chunks = await chunks_of(lambda _text: [PcmChunk(b"", SAMPLE_RATE), sound(300, 4)])
    assert all(chunk.pcm for chunk in chunks)


@pytest.mark.parametrize(
    "answer", [[], [PcmChunk(b"", SAMPLE_RATE)], [PcmChunk(bytes(48_000), SAMPLE_RATE)]]
)
async def test_speech_without_sound_is_a_failure(answer: list[PcmChunk]) -> None:
    with pytest.raises(GenerationFailedError):
        await chunks_of(lambda _text: answer)


async def test_a_sentence_without_sound_is_passed_over() -> None:
    chunks = await chunks_of(
        lambda text: [sound(300, 4) if text == "Two." else PcmChunk(bytes(4_800), SAMPLE_RATE)]
    )
    assert {chunk.sentence for chunk in chunks} == {2}
    assert np.frombuffer(chunks[0].pcm, "<i2").any()


class SeveralAtOnce(ScriptedBackend):
    """Notes which sentences it was asked for; they end when a test lets them."""

    def __init__(self, at_once: int) -> None:
        super().__init__()
        self.at_once = at_once
        self.begun: list[str] = []
        self.stopped: list[str] = []
        self.go_on: dict[str, asyncio.Event] = {}
        self.on_speak = self._wait

    def info(self) -> BackendInfo:
        return replace(super().info(), sentences_at_once=self.at_once)

    def ends(self, *texts: str) -> None:
        for text in texts:
            self.go_on.setdefault(text, asyncio.Event()).set()

    async def _wait(self, request: SpeechRequest) -> None:
        self.begun.append(request.text)
        try:
            await self.go_on.setdefault(request.text, asyncio.Event()).wait()
        except asyncio.CancelledError:
            self.stopped.append(request.text)
            raise
        if request.text.startswith("bad"):
            raise GenerationFailedError(request.text)


def requests(*texts: str) -> list[SpeechRequest]:
    return [SpeechRequest(text, PROMPT) for text in texts]


async def lengths(backend: SeveralAtOnce, *texts: str) -> list[int]:
    heard = []
    async with prefetch(backend, requests(*texts)) as sentences:
        for sentence in sentences:
            pcm = b"".join([chunk.pcm async for chunk in sentence])
            heard.append(len(pcm))
    return heard


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_sentences_come_in_order_whichever_is_ready_first() -> None:
    backend = SeveralAtOnce(3)
    reading = asyncio.ensure_future(lengths(backend, "a", "bb", "ccc", "dddd"))
    await settle()
    assert backend.begun == ["a", "bb", "ccc"]
    backend.ends("ccc", "bb", "dddd")
    await settle()
    assert backend.begun == ["a", "bb", "ccc"], "no more requests than the backend serves at once"
    backend.ends("a")
    heard = await reading
    assert heard == sorted(heard)
    assert len(set(heard)) == 4


async def test_one_sentence_at_a_time_where_the_backend_says_so() -> None:
    backend = SeveralAtOnce(1)
    reading = asyncio.ensure_future(lengths(backend, "a", "b"))
    await settle()
    assert backend.begun == ["a"]
    backend.ends("a", "b")
    assert len(await reading) == 2


async def test_an_error_comes_in_order_and_cancels_the_sentences_after_it() -> None:
    backend = SeveralAtOnce(3)
    heard: list[str] = []

    async def read() -> None:
        texts = ("a", "bad b", "c", "d")
        async with prefetch(backend, requests(*texts)) as sentences:
            for text, sentence in zip(texts, sentences, strict=True):
                heard.extend([text async for _chunk in sentence])

    reading = asyncio.ensure_future(read())
    await settle()
    backend.ends("bad b")
    await settle()
    assert not reading.done()
    backend.ends("a")
    with pytest.raises(GenerationFailedError, match="bad b"):
        await reading
    assert heard == ["a"]
    assert backend.stopped == ["c"]
    assert "d" not in backend.begun


async def test_cancelling_the_reader_cancels_all_sentences() -> None:
    backend = SeveralAtOnce(3)
    reading = asyncio.ensure_future(lengths(backend, "a", "bad b", "c"))
    await settle()
    backend.ends("bad b")
    await settle()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert sorted(backend.stopped) == ["a", "c"]
