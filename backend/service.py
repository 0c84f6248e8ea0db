"""All that a container answers, whoever runs the container.

A service owns one loaded model. Every call that needs the model goes through the scheduler, so any
number may come at once; what else blocks runs in threads. Requests are checked before any work is
done for them, and what they bring is never logged.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from backend.answers import (
    HealthAnswer,
    HeardAnswer,
    ModelInfoAnswer,
    TranscriptAnswer,
    VoicePromptAnswer,
    WatermarkAnswer,
)
from backend.consent import read_consent
from backend.contract import (
    MAX_TRANSCRIPT_CHARACTERS,
    REFERENCE_SAMPLE_RATE,
    BackendUnavailableError,
    ReferenceUnusableError,
    VoicePrompt,
    VoicePromptInvalidError,
)
from backend.reference.audio import decode_audio, load_reference, read_audio_file
from backend.service_info import model_info
from backend.speech_wish import WishRules
from backend.voice_prompt import MAX_PROMPT_BYTES
from backend.watermark.watermark import DETECTION_THRESHOLD

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from backend.consent import Consent
    from backend.contract import Heard, PcmChunk, SpeechRequest
    from backend.engine.interface import EngineInfo
    from backend.reference.audio import FetchAudio
    from backend.reference.transcript import Hearing
    from backend.speaker import Speaker
    from backend.watermark.watermark import Watermarker

MAX_CHECKED_SECONDS = 180.0
"""The longest recording to be searched for a watermark; the longest speech has 164 s."""


class SpeechService:
    """Clones voices and speaks with them.

    To be used from one event loop. Every failure is a `backend.contract.SpeechError`; a ValueError
    is a mistake in the calling program.

    Args:
        speaker: Speaks with the model.
        info: What the model is.
        watermarker: Finds the mark in recordings.
        hearing: Listens to reference clips.
        fetch: Gets reference audio from an address.
        label: The model's name for people.
        require_consent: Whether a voice needs its owner's consent.
    """

    def __init__(  # noqa: PLR0913 - the parts it is made of
        self,
        speaker: Speaker,
        info: EngineInfo,
        *,
        watermarker: Watermarker,
        hearing: Hearing,
        fetch: FetchAudio,
        label: str,
        require_consent: bool,
    ) -> None:
        self._speaker = speaker
        self._info = info
        self._watermarker = watermarker
        self._hearing = hearing
        self._fetch = fetch
        self._label = label
        self._require_consent = require_consent
        self._rules = WishRules(info.languages)

    async def close(self) -> None:
        """Fail every call under way with `BackendUnavailableError`, and stop the model."""
        await self._speaker.close()

    async def clone(  # noqa: PLR0913 - the parts of a request
        self,
        texts: Sequence[str],
        languages: Sequence[str],
        ref_audio: bytes | str,
        ref_text: str | None,
        max_new_tokens: int,
        *,
        consent: Consent | None,
        seed: int | None,
    ) -> list[bytes]:
        """Make a voice, speak with it, and forget it.

        Args:
            texts: What to say; `WishRules` has the bounds of this and the next.
            languages: One for each text.
            ref_audio: What `load_reference` takes.
            ref_text: Exactly what is said in it; None takes what is heard.
            max_new_tokens: The most frames for each text.
            consent: What `read_consent` takes.
            seed: Makes the speech reproducible.

        Returns:
            A WAV file for each text: mono, 16-bit, 24 kHz.
        """
        record = read_consent(consent, is_required=self._require_consent)
        wishes = self._rules.check_all(texts, languages, max_new_tokens, seed)
        transcript = _checked_transcript(ref_text)
        self._speaker.check_room()
        samples = await load_reference(ref_audio, self._fetch)
        if transcript is None:
            transcript, _ = await self._hearing.listen(samples, None)
        prompt = await self._speaker.make_prompt(samples, transcript, record)
        return await self._speaker.speak_all([wish.with_voice(prompt) for wish in wishes])

    async def create_voice_prompt(
        self,
        ref_audio: bytes | str,
        ref_text: str | None,
        *,
        consent: Consent | None,
        caller: str,
    ) -> VoicePromptAnswer:
        """Make a voice to keep.

        Args:
            ref_audio: What `load_reference` takes.
            ref_text: Exactly what is said in it; None takes what is heard.
            consent: What `read_consent` takes.
            caller: Whose turn it takes; empty is a caller of its own.
        """
        record = read_consent(consent, is_required=self._require_consent)
        given = _checked_transcript(ref_text)
        self._speaker.check_room()
        samples = await load_reference(ref_audio, self._fetch)
        transcript, heard = await self._hearing.listen(samples, given)
        prompt = await self._speaker.make_prompt(samples, transcript, record, caller)
        return VoicePromptAnswer(
            prompt=prompt.data,
            model_id=self._info.model_id,
            mode="x-vector" if transcript is None else "in-context",
            transcript=transcript,
            heard=None if heard is None else _heard_answer(heard),
        )

    async def speak(  # noqa: PLR0913 - the parts of a request
        self,
        text: str,
        language: str,
        prompt: bytes,
        max_new_tokens: int,
        *,
        seed: int | None,
        caller: str,
    ) -> bytes:
        """Speak with a kept voice. Takes what `stream` takes, and returns a WAV file."""
        job = self._job(text, language, prompt, max_new_tokens, seed)
        return await self._speaker.speak(job, caller)

    def stream(  # noqa: PLR0913 - the parts of a request
        self,
        text: str,
        language: str,
        prompt: bytes,
        max_new_tokens: int,
        *,
        seed: int | None,
        caller: str,
    ) -> AsyncGenerator[PcmChunk, None]:
        """Speak with a kept voice, chunk by chunk as it is made. Closing it stops the work.

        Args:
            text: What to say; `WishRules` has the bounds of this and the next.
            language: One that the model speaks.
            prompt: What `create_voice_prompt` made.
            max_new_tokens: The most frames.
            seed: Makes the speech reproducible.
            caller: Whose turn it takes; empty is a caller of its own.
        """
        job = self._job(text, language, prompt, max_new_tokens, seed)
        return self._speaker.stream(job, caller)

    async def transcribe(
        self, ref_audio: bytes | str, *, consent: Consent | None = None
    ) -> TranscriptAnswer:
        """Write down what a reference clip says. Takes what `load_reference` takes.

        Raises `BackendUnavailableError` if nothing can listen.
        """
        read_consent(consent, is_required=False)
        heard = await self._hearing.hear(await load_reference(ref_audio, self._fetch))
        if heard is None:
            raise BackendUnavailableError("no transcriber is set up, or its weights are missing")
        return TranscriptAnswer(
            text=heard.text,
            language=heard.language,
            language_confidence=heard.language_confidence,
        )

    async def detect_watermark(self, audio: bytes | str) -> WatermarkAnswer:
        """Tell whether a recording of at most `MAX_CHECKED_SECONDS` was made by Timbre.

        Args:
            audio: An audio file, in any form that `load_reference` takes.

        Raises `ReferenceUnusableError` if it cannot be read.
        """
        file = await read_audio_file(audio, self._fetch)
        return await asyncio.to_thread(self._search, file)

    def info(self) -> ModelInfoAnswer:
        """Say what is loaded, and on what."""
        return model_info(
            self._info,
            label=self._label,
            transcribes=self._hearing.is_there,
            requires_consent=self._require_consent,
        )

    def health(self) -> HealthAnswer:
        """Say what there is to do now. Costs nothing."""
        load = self._speaker.load()
        return HealthAnswer(
            ready=self._speaker.has_room(),
            model_id=self._info.model_id,
            waiting=load.waiting,
            speaking=load.begun,
            seconds_per_request=load.seconds_per_request,
        )

    def _job(
        self, text: str, language: str, prompt: bytes, max_new_tokens: int, seed: int | None
    ) -> SpeechRequest:
        if not isinstance(prompt, bytes) or len(prompt) > MAX_PROMPT_BYTES:
            raise VoicePromptInvalidError(f"it is not bytes, {MAX_PROMPT_BYTES} at most")
        return self._rules.check(text, language, max_new_tokens, seed).with_voice(
            VoicePrompt(prompt, self._info.model_id)
        )

    def _search(self, file: bytes) -> WatermarkAnswer:
        samples = decode_audio(file, MAX_CHECKED_SECONDS)
        confidence = self._watermarker.confidence(samples, REFERENCE_SAMPLE_RATE)
        return WatermarkAnswer(
            watermarked=confidence >= DETECTION_THRESHOLD,
            confidence=confidence,
            seconds=len(samples) / REFERENCE_SAMPLE_RATE,
        )


def _checked_transcript(ref_text: str | None) -> str | None:
    if ref_text is None:
        return None
    if not isinstance(ref_text, str) or len(ref_text) > MAX_TRANSCRIPT_CHARACTERS:
        raise ReferenceUnusableError(
            f"its transcript is not a text of at most {MAX_TRANSCRIPT_CHARACTERS} characters"
        )
    return ref_text.strip() or None


def _heard_answer(heard: Heard) -> HeardAnswer:
    return HeardAnswer(text=heard.text, language=heard.language, differs=heard.differs)
