"""The voice pipeline: turns recordings into voices, and text into speech with a voice."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

import structlog

from backend.contract import (
    AUTO_LANGUAGE,
    MAX_NEW_TOKENS,
    ConsentMissingError,
    LanguageNotSupportedError,
    ReferenceClip,
    VoicePrompt,
    VoicePromptInvalidError,
    VoicePromptModelMismatchError,
)
from bot import text as texts
from bot.audio import clip as clips
from bot.audio.loudness import LoudnessMeter, slices, to_float
from bot.errors import Reason, Refusal
from bot.pace import Pace
from bot.production import Production
from bot.speech.backend import SleepingBackend, StartingBackend
from bot.speech.errors import TextInOtherLanguageError
from bot.storage.errors import DatabaseFailedError
from bot.streaming import stream_speech
from bot.tempo import at_speed, stretched_silence

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

    from backend.contract import BackendInfo, ConsentRecord, Heard, PreparedVoice
    from bot.audio.reference import ReferenceReader
    from bot.errors import Note
    from bot.speech.backend import ColdStart, SpeechBackend
    from bot.streaming import SpeechChunk
    from bot.text import NameOf, Sentence
    from bot.voices.library import VoiceLibrary
    from bot.voices.records import SavedVoice

HEALTH_WITHIN_SECONDS = 2.0

SECONDS_TO_STORE = 1.0
"""How long speech waits until a new prompt is stored, so that the next speech finds it."""

SAME_LOUDNESS = 0.5
"""In LU. A smaller change of a voice's loudness is not stored."""

PROMPT_ERRORS = (VoicePromptInvalidError, VoicePromptModelMismatchError, ConsentMissingError)
"""Why a model refuses a voice prompt. One that is made anew from the clip may do."""

NO_WORDS: Mapping[str, str] = MappingProxyType({})

log = structlog.get_logger(__name__)


def _uncounted(_seconds: float) -> None:
    """Nobody counts the speech."""


class Step(StrEnum):
    """The steps of working on a recording, for progress messages."""

    LISTENING = "listening to the recording"
    LEARNING = "learning the voice"
    SEARCHING = "searching for the watermark"


@dataclass(frozen=True, slots=True)
class NewVoice:
    """A voice made from an upload, not saved yet.

    Attributes:
        clip_flac: The cleaned reference clip, as stored in the library.
        clip_seconds: Its length.
        prompt: The voice prompt for the speech backend.
        transcript: The given transcript of the clip, else the recognised one; None if there is
            neither.
        heard: The recognised transcript, or None if the clip was not transcribed.
        notes: Notes for the person, such as which stretch of the recording was used.
    """

    clip_flac: bytes = field(repr=False)
    clip_seconds: float
    prompt: VoicePrompt
    transcript: str | None = field(repr=False)
    heard: Heard | None
    notes: tuple[Note, ...]


class Studio:
    """Connects uploads, saved voices and a speech backend. Does not depend on Discord."""

    def __init__(
        self, *, speech: SpeechBackend, reader: ReferenceReader, library: VoiceLibrary
    ) -> None:
        self._speech = speech
        self._reader = reader
        self._library = library
        self._pace = Pace()

    @property
    def backend(self) -> BackendInfo:
        """A description of the speech backend."""
        return self._speech.info()

    async def health(self) -> None:
        """Return if the speech backend would accept a request now.

        Raises `TimeoutError` if it does not answer within `HEALTH_WITHIN_SECONDS`, and the
        `SpeechError` that a request would get.
        """
        async with asyncio.timeout(HEALTH_WITHIN_SECONDS):
            await self._speech.health()

    def cold_start(self) -> ColdStart | None:
        """Return the cold start that calls are waiting for now, or None."""
        return self._speech.cold_start() if isinstance(self._speech, StartingBackend) else None

    async def keep_awake(self, minutes: int) -> float:
        """Start the speech backend, and keep it running for at least this long from now.

        Returns for how many seconds from now it is kept running: for longer, if that was asked for
        earlier. Raises `Refusal` if the backend never sleeps.
        """
        if not isinstance(self._speech, SleepingBackend):
            raise Refusal(Reason.NEVER_SLEEPS)
        return await self._speech.keep_awake(60.0 * minutes)

    async def script(
        self,
        typed: str,
        *,
        language: str,
        name_of: NameOf,
        spoken_for: Mapping[str, str] = NO_WORDS,
    ) -> list[Sentence]:
        """Turn what someone typed into the sentences to speak.

        Args:
            typed: The text.
            language: What it should be spoken in.
            name_of: Returns the names for mentions.
            spoken_for: What to say for words, by their `word_key`.

        Raises `Refusal` if the text is too long or nothing of it can be spoken, and
        `LanguageNotSupportedError` if the backend does not speak its language. Without a language,
        that is guessed, and only counts where it is sure.
        """
        languages = self.backend.languages
        if language not in languages:
            raise LanguageNotSupportedError(language, languages)
        _check_length(typed)
        return await asyncio.to_thread(_script, typed, language, languages, name_of, spoken_for)

    def production(
        self, sentences: Sequence[Sentence], *, on_speech: Callable[[float], None] = _uncounted
    ) -> Production:
        """Return the record of how the speech of some sentences comes, for `stream`.

        Args:
            sentences: The sentences.
            on_speech: Called with the length of each chunk that the backend makes, in seconds.
        """
        return Production(self._pace, sentences, on_speech)

    async def make_voice(  # noqa: PLR0913 - a recording, what is known of it, and who wants to know
        self,
        upload: bytes,
        *,
        transcript: str | None,
        consent: ConsentRecord,
        on_step: Callable[[Step], None],
        on_speech: Callable[[float], None] = _uncounted,
        sound_alone: bool = False,
    ) -> NewVoice:
        """Clean a recording and make a voice prompt from it.

        Args:
            upload: The recording.
            transcript: What is said in it, if the person says so.
            consent: What the person confirmed for this voice.
            on_step: Called as each step begins.
            on_speech: Called with the length of the clip, in seconds, once the backend has worked
                on it.
            sound_alone: Take only the sound of the voice, and not what is said.

        Raises `Refusal` or a `SpeechError`. Nothing is stored.
        """
        on_step(Step.LISTENING)
        reference = await self._reader.read(upload, transcript_given=transcript is not None)
        on_step(Step.LEARNING)
        pcm = await asyncio.to_thread(clips.to_pcm16, reference.samples)
        flac = await asyncio.to_thread(clips.to_flac, pcm)
        clip = ReferenceClip(pcm=pcm, transcript=transcript, sound_alone=sound_alone)
        voice = await self._prepare(clip, consent, on_speech)
        known = _transcript(clip, voice)
        return NewVoice(flac, clip.seconds, voice.prompt, known, voice.heard, reference.notes)

    async def correct_transcript(
        self,
        voice: SavedVoice,
        transcript: str,
        *,
        on_step: Callable[[Step], None],
        on_speech: Callable[[float], None] = _uncounted,
    ) -> Heard | None:
        """Rebuild a saved voice's prompt with a corrected transcript of its clip, and store both.

        `on_step` and `on_speech` are called as by `make_voice`. Returns the recognised transcript,
        or None if the clip was not transcribed.
        """
        on_step(Step.LEARNING)
        clip = await self._clip(voice, transcript)
        corrected = await self._prepare(clip, voice.consent, on_speech)
        await self._library.correct_transcript(voice, transcript, corrected.prompt)
        return corrected.heard

    async def _prepare(
        self, clip: ReferenceClip, consent: ConsentRecord, on_speech: Callable[[float], None]
    ) -> PreparedVoice:
        """Make a voice prompt. The clip counts also if that is cancelled, but not if it fails."""
        try:
            voice = await self._speech.prepare_voice(clip, consent)
        except asyncio.CancelledError:
            on_speech(clip.seconds)
            raise
        on_speech(clip.seconds)
        return voice

    async def stream(  # noqa: PLR0913 - what to say, with which voice, and how
        self,
        sentences: Sequence[Sentence],
        voice: SavedVoice | VoicePrompt,
        *,
        language: str,
        caller: str = "",
        production: Production | None = None,
        speed: float = 1.0,
        seed: int | None = None,
        max_new_tokens: int = MAX_NEW_TOKENS,
    ) -> AsyncGenerator[SpeechChunk, None]:
        """Yield the speech of some sentences, in order, each chunk as soon as it is generated.

        A saved voice's prompt is rebuilt from its clip, with its consent, if there is none for the
        current model, or if the model refuses it. Its loudness is measured, and stored for the
        next time.

        Args:
            sentences: The sentences to speak.
            voice: A saved voice, or a voice prompt.
            language: One of the backend's languages.
            caller: The caller that the requests count for, see `SpeechRequest`.
            production: Where it is recorded what has come, for who plays the speech meanwhile.
            speed: How many times as fast as the voice speaks by itself, at the same pitch. Silence
                that was typed keeps its length.
            seed: The seed of each sentence, see `SpeechRequest`.
            max_new_tokens: The most codec frames of each sentence.
        """
        production = production or self.production(sentences)
        production.speed = speed
        begin = partial(
            stream_speech,
            self._speech,
            stretched_silence(sentences, speed),
            language=language,
            caller=caller,
            production=production,
            seed=seed,
            max_new_tokens=max_new_tokens,
        )
        async with aclosing(at_speed(self._measured(begin, voice), speed)) as speech:
            async for chunk in speech:
                yield chunk

    async def _measured(
        self,
        begin: Callable[[VoicePrompt], AsyncGenerator[SpeechChunk, None]],
        voice: SavedVoice | VoicePrompt,
    ) -> AsyncGenerator[SpeechChunk, None]:
        """Yield speech with the loudness of its voice."""
        # Looked up while the speech begins, so that the first sound does not wait for a database.
        looking_up = asyncio.create_task(self._known_loudness(voice))
        try:
            first, speech = await self._begun(begin, voice)
            async with aclosing(speech):
                known = await looking_up
                meter = LoudnessMeter(first.sample_rate)
                yield await _with_loudness(first, meter, known)
                async for chunk in speech:
                    yield await _with_loudness(chunk, meter, known)
        finally:
            looking_up.cancel()
        if not isinstance(voice, VoicePrompt):
            await self.note_loudness(voice, meter.loudness if meter.is_sure else None)

    async def _begun(
        self,
        begin: Callable[[VoicePrompt], AsyncGenerator[SpeechChunk, None]],
        voice: SavedVoice | VoicePrompt,
    ) -> tuple[SpeechChunk, AsyncGenerator[SpeechChunk, None]]:
        """Begin to speak. Return the first chunk, and the stream of the others."""
        speech = begin(voice if isinstance(voice, VoicePrompt) else await self._prompt(voice))
        try:
            return await anext(speech), speech
        except PROMPT_ERRORS as error:
            if isinstance(voice, VoicePrompt):
                raise
            log.warning("voice prompt rebuilt", voice=voice.id, reason=type(error).__name__)
            speech = begin(await self._rebuild_prompt(voice))
            return await anext(speech), speech

    async def note_loudness(self, voice: SavedVoice, loudness: float | None) -> None:
        """Store how loud a saved voice is with the current model, unless that is hardly news.

        Args:
            voice: The voice.
            loudness: In LUFS; None if it is not known, then nothing is stored.
        """
        if loudness is None:
            return
        known = await self._known_loudness(voice)
        if known is None or abs(loudness - known) > SAME_LOUDNESS:
            self._library.note_loudness(voice, self.backend.model_id, loudness)

    async def _known_loudness(self, voice: SavedVoice | VoicePrompt) -> float | None:
        """Return what a saved voice's loudness was with the current model, if it was measured."""
        if isinstance(voice, VoicePrompt):
            return None
        try:
            return await self._library.loudness(voice, self.backend.model_id)
        except DatabaseFailedError:  # speech can do without
            return None

    async def _prompt(self, voice: SavedVoice) -> VoicePrompt:
        """Return a saved voice's prompt for the current model. If there is none, make it."""
        prompt = await self._library.prompt(voice, self.backend.model_id)
        return prompt if prompt is not None else await self._rebuild_prompt(voice)

    async def _rebuild_prompt(self, voice: SavedVoice) -> VoicePrompt:
        clip = await self._clip(voice)
        rebuilt = await self._speech.prepare_voice(clip, voice.consent)
        stored = self._library.store_prompt(voice, rebuilt.prompt, _transcript(clip, rebuilt))
        await asyncio.wait([stored], timeout=SECONDS_TO_STORE)
        why_gone = await self._library.why_gone(voice)
        if why_gone is not None:
            raise Refusal(why_gone)
        return rebuilt.prompt

    async def _clip(self, voice: SavedVoice, transcript: str | None = None) -> ReferenceClip:
        """Return a saved voice's clip, with the given transcript or else the stored one."""
        stored = await self._library.clip(voice)
        pcm = await asyncio.to_thread(clips.from_flac, stored.flac)
        return ReferenceClip(pcm=pcm, transcript=transcript or stored.transcript)


async def _with_loudness(
    chunk: SpeechChunk, meter: LoudnessMeter, known: float | None
) -> SpeechChunk:
    """Measure a chunk, and add how loud the voice is by now, or was earlier."""
    for piece in slices(to_float(chunk.pcm), chunk.sample_rate):
        meter.push(piece)
        await asyncio.sleep(0)  # a chunk can be a whole sentence, and others wait
    return replace(chunk, loudness=meter.estimate(known))


def _script(
    typed: str,
    language: str,
    languages: tuple[str, ...],
    name_of: NameOf,
    spoken_for: Mapping[str, str],
) -> list[Sentence]:
    cleaned = texts.clean(typed, name_of=name_of)
    _check_length(cleaned)  # names can be longer than the mentions that they replace
    if language == AUTO_LANGUAGE:
        guessed = texts.guess_language(cleaned)
        if guessed is not None and guessed not in languages:
            raise TextInOtherLanguageError(guessed, languages)
    spoken = texts.replace_words(cleaned, spoken_for)
    if len(spoken) > texts.MAX_TEXT_CHARACTERS:
        raise Refusal(
            Reason.TEXT_TOO_LONG_SPOKEN, characters=len(spoken), limit=texts.MAX_TEXT_CHARACTERS
        )
    if spoken != cleaned:  # what is repeated too often may have come from a dictionary
        spoken = texts.clean(spoken, name_of=name_of)
    sentences = texts.split(spoken, language=language)
    if not sentences:
        raise Refusal(Reason.NOTHING_TO_SAY)
    return sentences


def _check_length(text: str) -> None:
    limit = texts.MAX_TEXT_CHARACTERS
    if len(text) > limit:
        raise Refusal(Reason.TEXT_TOO_LONG, characters=len(text), limit=limit)


def _transcript(clip: ReferenceClip, voice: PreparedVoice) -> str | None:
    """Return the given transcript of a clip, else the recognised one, else None."""
    return clip.transcript or (voice.heard.text if voice.heard else None) or None
