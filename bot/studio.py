"""The voice pipeline: a recording becomes a voice, and text becomes speech with it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import structlog

from backend.contract import (
    AUTO_LANGUAGE,
    GenerationFailedError,
    LanguageNotSupportedError,
    ReferenceClip,
    SpeechError,
    SpeechRequest,
    VoicePromptInvalidError,
    VoicePromptModelMismatchError,
)
from bot import text as texts
from bot.audio import clip as clips
from bot.audio.joining import SpeechJoiner
from bot.errors import Refusal, explain
from bot.prefetch import speak_ahead
from bot.speech.backend import SleepingBackend
from bot.streaming import stream_speech

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from backend.contract import (
        BackendInfo,
        ConsentRecord,
        Heard,
        PcmChunk,
        PreparedVoice,
        VoicePrompt,
    )
    from bot.audio.joining import JoinedSpeech
    from bot.audio.reference import ReferenceReader
    from bot.speech.backend import SpeechBackend, Waking
    from bot.streaming import SpeechChunk
    from bot.text import NameOf, Sentence
    from bot.voices.library import VoiceLibrary
    from bot.voices.records import SavedClip, SavedVoice

HEALTH_WITHIN_SECONDS = 2.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class NewVoice:
    """A voice made from an upload, not saved yet.

    Attributes:
        clip_flac: The cleaned reference audio, as kept in the library.
        clip_seconds: Its length.
        prompt: What the speech backend speaks with.
        transcript: What is said in the clip: as it was given, else as it was heard; None if nobody
            knows.
        heard: What was heard in the clip, or None if nothing listened.
        notes: Sentences that the person should read, such as which stretch was used.
    """

    clip_flac: bytes = field(repr=False)
    clip_seconds: float
    prompt: VoicePrompt
    transcript: str | None = field(repr=False)
    heard: Heard | None
    notes: tuple[str, ...]


class Studio:
    """Ties uploads, saved voices and a speech backend together. Knows nothing of Discord."""

    def __init__(
        self, *, speech: SpeechBackend, reader: ReferenceReader, library: VoiceLibrary
    ) -> None:
        self._speech = speech
        self._reader = reader
        self._library = library

    @property
    def backend(self) -> BackendInfo:
        """What makes the speech."""
        return self._speech.info()

    async def state(self) -> str:
        """A sentence on how the speech backend is doing, within two seconds."""
        try:
            async with asyncio.timeout(HEALTH_WITHIN_SECONDS):
                await self._speech.health()
        except TimeoutError:
            return "It has not answered yet; it may be waking up."
        except SpeechError as error:
            return explain(error)
        return "It is ready."

    def waking(self) -> Waking | None:
        """Say how far the speech backend's waking is, or None if it is awake or not needed."""
        return self._speech.waking() if isinstance(self._speech, SleepingBackend) else None

    async def keep_awake(self, minutes: int) -> None:
        """Wake the speech backend up, and keep it awake for that long from now."""
        if not isinstance(self._speech, SleepingBackend):
            raise Refusal("The voice engine here never sleeps, so there is nothing to warm up.")
        await self._speech.keep_awake(60.0 * minutes)

    async def script(self, typed: str, *, language: str, name_of: NameOf) -> list[Sentence]:
        """Turn what someone typed into the sentences to speak.

        Raises `Refusal` if the text is too long or nothing of it can be said, and
        `LanguageNotSupportedError` before any work is done for it.
        """
        languages = self.backend.languages
        if language not in languages:
            raise LanguageNotSupportedError(language, languages)
        _check_length(typed)
        return await asyncio.to_thread(_script, typed, language, name_of)

    async def make_voice(
        self,
        upload: bytes,
        *,
        transcript: str | None,
        consent: ConsentRecord,
        on_step: Callable[[str], None],
    ) -> NewVoice:
        """Clean a recording and make a voice prompt from it.

        Raises `Refusal` or a `SpeechError`; nothing of the upload is kept anywhere.
        """
        on_step("Listening to your recording")
        reference = await self._reader.read(upload, transcript_given=transcript is not None)
        on_step("Learning the voice")
        pcm, flac = await asyncio.to_thread(_pack_clip, reference.samples)
        clip = ReferenceClip(pcm=pcm, transcript=transcript)
        voice = await self._speech.prepare_voice(clip, consent)
        known = _transcript(clip, voice)
        return NewVoice(flac, clip.seconds, voice.prompt, known, voice.heard, reference.notes)

    async def correct_transcript(
        self, voice: SavedVoice, transcript: str, *, on_step: Callable[[str], None]
    ) -> Heard | None:
        """Learn a saved voice anew with what is really said in its clip.

        Returns what was heard in the clip, or None if nothing listened.
        """
        on_step("Learning the voice")
        stored = await self._library.clip(voice)
        clip = ReferenceClip(pcm=await _unpack_clip(stored), transcript=transcript)
        corrected = await self._speech.prepare_voice(clip, voice.consent)
        await self._library.correct_transcript(voice, transcript, corrected.prompt)
        return corrected.heard

    async def prompt_of(self, voice: SavedVoice) -> VoicePrompt:
        """Find a saved voice's prompt for the current model; where it is missing, make it."""
        model_id = self.backend.model_id
        prompt = await self._library.prompt(voice, model_id)
        return prompt if prompt is not None else await self._rebuild_prompt(voice)

    async def speak_saved(
        self,
        sentences: Sequence[Sentence],
        voice: SavedVoice,
        *,
        language: str,
        caller: str = "",
        on_sentence: Callable[[int, int], None],
    ) -> JoinedSpeech:
        """Speak with a saved voice; a prompt that the model refuses is rebuilt once."""
        speak = partial(
            self.speak, sentences, language=language, caller=caller, on_sentence=on_sentence
        )
        prompt = await self.prompt_of(voice)
        try:
            return await speak(prompt)
        except (VoicePromptInvalidError, VoicePromptModelMismatchError) as error:
            log.warning("voice prompt rebuilt", voice=voice.id, reason=type(error).__name__)
            prompt = await self._rebuild_prompt(voice)
            return await speak(prompt)

    async def speak(
        self,
        sentences: Sequence[Sentence],
        prompt: VoicePrompt,
        *,
        language: str = AUTO_LANGUAGE,
        caller: str = "",
        on_sentence: Callable[[int, int], None],
    ) -> JoinedSpeech:
        """Speak sentence by sentence and join them with natural pauses.

        `caller` says whose turn it takes. `on_sentence` is called with the number, from 1, of the
        sentence that begins, and how many there are.
        """
        joiner: SpeechJoiner | None = None
        requests = [SpeechRequest(each.text, prompt, language, caller=caller) for each in sentences]
        async with speak_ahead(self._speech, requests) as spoken:
            for number, (sentence, stream) in enumerate(zip(sentences, spoken, strict=True), 1):
                on_sentence(number, len(sentences))
                chunks = await _whole(stream)
                if not chunks:
                    raise GenerationFailedError("the backend sent no audio")
                joiner = joiner or SpeechJoiner(chunks[0].sample_rate)
                pcm = b"".join(chunk.pcm for chunk in chunks)
                await asyncio.to_thread(joiner.add, pcm, ends_paragraph=sentence.ends_paragraph)
        speech = await asyncio.to_thread(joiner.joined) if joiner else None
        if speech is None or not speech.pcm:
            raise GenerationFailedError("the backend sent silence")
        return speech

    async def stream(
        self,
        sentences: Sequence[Sentence],
        voice: SavedVoice,
        *,
        language: str,
        caller: str = "",
    ) -> AsyncGenerator[SpeechChunk, None]:
        """Speak with a saved voice, each chunk as soon as it is made.

        A prompt that the model refuses is rebuilt once, as in `speak_saved`.
        """
        begin = partial(stream_speech, self._speech, sentences, language=language, caller=caller)
        speech = begin(await self.prompt_of(voice))
        try:
            first = await anext(speech)
        except (VoicePromptInvalidError, VoicePromptModelMismatchError) as error:
            log.warning("voice prompt rebuilt", voice=voice.id, reason=type(error).__name__)
            speech = begin(await self._rebuild_prompt(voice))
            first = await anext(speech)
        async with aclosing(speech):
            yield first
            async for chunk in speech:
                yield chunk

    async def _rebuild_prompt(self, voice: SavedVoice) -> VoicePrompt:
        stored = await self._library.clip(voice)
        clip = ReferenceClip(pcm=await _unpack_clip(stored), transcript=stored.transcript)
        rebuilt = await self._speech.prepare_voice(clip, voice.consent)
        await self._library.store_prompt(voice, rebuilt.prompt, _transcript(clip, rebuilt))
        return rebuilt.prompt


async def _whole(sentence: AsyncGenerator[PcmChunk, None]) -> list[PcmChunk]:
    """Collect what a sentence sounds like, without what the model said before it restarted."""
    chunks: list[PcmChunk] = []
    async for chunk in sentence:
        if chunk.restarts:
            chunks.clear()
        chunks.append(chunk)
    return chunks


def _script(typed: str, language: str, name_of: NameOf) -> list[Sentence]:
    cleaned = texts.clean(typed, name_of=name_of)
    _check_length(cleaned)  # names are longer than the mentions that they stand for
    sentences = [
        sentence
        for sentence in texts.split(cleaned, language=language)
        if any(map(str.isalnum, sentence.text))  # a table that is flipped says nothing
    ]
    if not sentences:
        raise Refusal("There is nothing in that text I can say aloud. Try it with words.")
    return sentences


def _check_length(text: str) -> None:
    if len(text) > texts.MAX_TEXT_CHARACTERS:
        raise Refusal(
            f"That text has {len(text):,} characters; I can say up to "
            f"{texts.MAX_TEXT_CHARACTERS:,} at once. Please split it."
        )


def _transcript(clip: ReferenceClip, voice: PreparedVoice) -> str | None:
    """What is said in a clip, as far as anybody knows."""
    return clip.transcript or (voice.heard.text if voice.heard else None) or None


async def _unpack_clip(stored: SavedClip) -> bytes:
    """Reference audio from the library, as PCM for the backend."""
    try:
        return await asyncio.to_thread(lambda: clips.to_pcm16(clips.from_flac(stored.flac)))
    except clips.ClipDamagedError as error:
        raise Refusal(
            "The recording of that voice is damaged. Delete the voice with `/voice delete`, "
            "then make it again with `/clone`."
        ) from error


def _pack_clip(samples: NDArray[np.float32]) -> tuple[bytes, bytes]:
    """Reference audio as PCM for the backend and as FLAC for the library."""
    return clips.to_pcm16(samples), clips.to_flac(samples)
