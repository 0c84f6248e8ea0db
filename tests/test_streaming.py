"""Sentences on their way from a backend to a voice channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from backend.contract import GenerationFailedError, PcmChunk, VoicePrompt
from bot.streaming import SpeechChunk, stream_speech
from bot.text import Sentence
from tests.support.scripted_backend import SAMPLE_RATE, ScriptedBackend, tone

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from backend.contract import SpeechRequest

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


async def test_a_restart_of_which_nothing_was_sent_yet_is_none() -> None:
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
