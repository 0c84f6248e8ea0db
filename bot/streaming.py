"""Speech as a stream: sentences that are heard, with natural pauses, while they are being made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from backend.contract import GenerationFailedError, SpeechRequest
from bot.audio.pauses import StreamJoiner
from bot.prefetch import speak_ahead

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from backend.contract import VoicePrompt
    from bot.speech.backend import SpeechBackend
    from bot.text import Sentence


@dataclass(frozen=True, slots=True)
class SpeechChunk:
    """A stretch of speech made of several sentences.

    Attributes:
        pcm: Mono s16le samples, never none.
        sample_rate: In Hz; the same for every chunk of a stream.
        sentence: The sentence it belongs to, from 1; the pause after a sentence belongs to it too.
        restarts: The sentence begins anew with this chunk: drop what is held of it and not heard.
    """

    pcm: bytes = field(repr=False)
    sample_rate: int
    sentence: int = 1
    restarts: bool = False


async def stream_speech(
    backend: SpeechBackend,
    sentences: Sequence[Sentence],
    prompt: VoicePrompt,
    *,
    language: str,
    caller: str = "",
) -> AsyncGenerator[SpeechChunk, None]:
    """Speak sentence by sentence, each chunk as soon as it is made.

    Raises `GenerationFailedError` if nothing could be heard, and whatever the backend raises.
    """
    joiner: StreamJoiner | None = None
    sounded = False
    requests = [SpeechRequest(each.text, prompt, language, caller=caller) for each in sentences]
    async with speak_ahead(backend, requests) as spoken:
        for number, (sentence, chunks) in enumerate(zip(sentences, spoken, strict=True), 1):
            restarts = begun = False
            sample_rate = 0
            async for chunk in chunks:
                sample_rate = chunk.sample_rate
                joiner = joiner or StreamJoiner(sample_rate)
                if chunk.restarts:
                    joiner.restart_sentence()
                    restarts = begun
                pcm = joiner.push(chunk.pcm)
                if pcm:
                    yield SpeechChunk(pcm, sample_rate, number, restarts)
                    begun, restarts = True, False
            if joiner is None or not sample_rate:
                raise GenerationFailedError("the backend sent no audio")
            pcm = joiner.end_sentence(
                pause=number < len(sentences), ends_paragraph=sentence.ends_paragraph
            )
            if pcm:
                yield SpeechChunk(pcm, sample_rate, number, restarts)
            sounded |= bool(pcm)
    if not sounded:
        raise GenerationFailedError("the backend sent silence")
