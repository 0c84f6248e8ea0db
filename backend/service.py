"""All that a container answers, whoever runs the container.

One service owns one loaded model. Every call that needs the model goes through the scheduler, so
any number may come at once; what else blocks runs in threads. Requests are checked before any work
is done for them, and what they bring is never logged.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from uuid import uuid4

import torch

from backend.consent import read_consent
from backend.contract import (
    MAX_REFERENCE_SECONDS,
    MAX_SPOKEN_CHARACTERS,
    MAX_TRANSCRIPT_CHARACTERS,
    MIN_REFERENCE_SECONDS,
    REFERENCE_SAMPLE_RATE,
    BackendUnavailableError,
    ReferenceUnusableError,
    SpeechError,
    VoicePromptInvalidError,
)
from backend.engine.engine import MAX_NEW_TOKENS
from backend.reference_audio import (
    MAX_AUDIO_BYTES,
    decode_audio,
    load_reference,
    read_audio_file,
)
from backend.scheduler import Scheduler
from backend.service_answers import (
    HealthAnswer,
    HeardAnswer,
    LimitsAnswer,
    ModelInfoAnswer,
    TranscriptAnswer,
    VoicePromptAnswer,
    WatermarkAnswer,
)
from backend.speech_wish import MAX_TEXTS, Wish, WishRules
from backend.transcript_match import Verdict, compare
from backend.voice_prompt import MAX_PROMPT_BYTES
from backend.watermark import DETECTION_THRESHOLD
from backend.wav import write_wav

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from backend.consent import Consent
    from backend.contract import ConsentRecord, PcmChunk
    from backend.engine import Engine
    from backend.hearing import Hearing
    from backend.reference_audio import FetchAudio
    from backend.transcriber import Heard
    from backend.watermark import Watermarker

MAX_CHECKED_SECONDS = 180.0
"""The longest recording to be searched for a watermark; the longest speech has 164 s."""

_PROMPT_SECONDS = 60.0
_SPEECH_SECONDS = 180.0
"""Deadlines for the two steps of a call, which with the fetching of a reference stay below the 300 s
after which Modal would end the call: the caller gets a reason instead."""

_MAX_CRASHES = 3
"""A model that crashed so often in a row will not recover in this process."""


class SpeechService:
    """Clones voices and speaks with them.

    Must be used from one event loop. Failures are `backend.contract.SpeechError`s; a ValueError is
    a mistake in the calling program.

    Args:
        engine: Nothing else may use it from now on.
        watermarker: Finds the mark in recordings.
        hearing: Listens to reference clips.
        fetch: Gets reference audio from an address.
        label: The model's name for people.
        require_consent: Whether a voice needs its owner's consent.
    """

    def __init__(  # noqa: PLR0913 - the parts it is made of
        self,
        engine: Engine,
        *,
        watermarker: Watermarker,
        hearing: Hearing,
        fetch: FetchAudio,
        label: str,
        require_consent: bool,
    ) -> None:
        self._info = engine.info()
        self._scheduler = Scheduler(engine)
        self._watermarker = watermarker
        self._hearing = hearing
        self._fetch = fetch
        self._label = label
        self._require_consent = require_consent
        self._rules = WishRules(self._info.languages)
        self._scheduler.start()

    async def close(self) -> None:
        """Fail every call under way with `BackendUnavailableError`, and stop the engine."""
        await self._scheduler.close()

    @property
    def is_broken(self) -> bool:
        """Whether the model keeps failing, so that the process should be replaced."""
        return self._scheduler.load().crashes_in_a_row >= _MAX_CRASHES

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
            texts: At most `MAX_TEXTS`.
            languages: One for each text.
            ref_audio: What `load_reference` takes.
            ref_text: Exactly what is said in it; None takes what is heard.
            max_new_tokens: The most frames of each text.
            consent: What `read_consent` takes.
            seed: Makes the speech reproducible.

        Returns:
            A WAV file for each text: mono, 16-bit, 24 kHz.
        """
        record = read_consent(consent, is_required=self._require_consent)
        wishes = self._rules.check_all(texts, languages, max_new_tokens, seed)
        transcript = _checked_transcript(ref_text)
        self._scheduler.check()
        samples = await load_reference(ref_audio, self._fetch)
        if transcript is None:
            heard = await self._hearing.hear(samples)
            transcript = heard.text if heard else None
        caller = _somebody()
        prompt = await self._make_prompt(samples, transcript, record, caller)
        return await self._speak_all(wishes, prompt, caller)

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
            caller: Whose turn it takes.
        """
        record = read_consent(consent, is_required=self._require_consent)
        given = _checked_transcript(ref_text)
        self._scheduler.check()
        samples = await load_reference(ref_audio, self._fetch)
        heard = await self._hearing.hear(samples)
        transcript = given or (heard.text if heard else None) or None
        prompt = await self._make_prompt(samples, transcript, record, caller or _somebody())
        return VoicePromptAnswer(
            prompt=prompt,
            model_id=self._info.model_id,
            mode="x-vector" if transcript is None else "in-context",
            transcript=transcript,
            heard=None if heard is None else _heard_answer(heard, given),
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
        """Speak with a kept voice, and return a WAV file. Takes the arguments of `stream`."""
        wish = self._rules.check(text, language, max_new_tokens, seed)
        return await self._speak_whole(wish, _checked_prompt(prompt), caller or _somebody())

    async def stream(  # noqa: PLR0913 - the parts of a request
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
            text: What to say.
            language: One that the model speaks.
            prompt: What `create_voice_prompt` made.
            max_new_tokens: The most frames.
            seed: Makes the speech reproducible.
            caller: Whose turn it takes; empty is a caller of its own.
        """
        wish = self._rules.check(text, language, max_new_tokens, seed)
        job = wish.with_voice(_checked_prompt(prompt))
        ticket = self._scheduler.request(job, caller=caller or _somebody(), deadline=_SPEECH_SECONDS)
        with ticket as chunks:
            async for chunk in chunks:
                yield chunk

    async def transcribe(self, ref_audio: bytes | str) -> TranscriptAnswer:
        """Write down what a reference clip says. Takes what `load_reference` takes.

        Raises `BackendUnavailableError` if nothing can listen.
        """
        heard = await self._hearing.hear(await load_reference(ref_audio, self._fetch))
        if heard is None:
            raise BackendUnavailableError(
                "nothing is set up to listen: see TRANSCRIBER_MODEL and download_weights"
            )
        return TranscriptAnswer(
            text=heard.text,
            language=heard.language,
            language_confidence=heard.language_confidence,
        )

    async def detect_watermark(self, audio: bytes | str) -> WatermarkAnswer:
        """Tell whether a recording of at most `MAX_CHECKED_SECONDS` was made here.

        Args:
            audio: An audio file in any form that `load_reference` takes.

        Raises `ReferenceUnusableError` if it cannot be read.
        """
        file = await read_audio_file(audio, self._fetch)
        return await asyncio.to_thread(self._search, file)

    def info(self) -> ModelInfoAnswer:
        """Say what is loaded, and on what."""
        info = self._info
        is_gpu = info.device != "cpu"
        free, total = torch.cuda.mem_get_info(info.device) if is_gpu else (None, None)
        return ModelInfoAnswer(
            model_id=info.model_id,
            label=self._label,
            revision=info.revision,
            device=info.device,
            gpu=info.device_name if is_gpu else None,
            dtype=info.dtype,
            attention=info.attention,
            memory_bytes=info.memory_bytes,
            gpu_memory_bytes=total,
            gpu_memory_free_bytes=free,
            load_seconds=info.load_seconds,
            languages=list(info.languages),
            limits=LimitsAnswer(
                min_reference_seconds=MIN_REFERENCE_SECONDS,
                max_reference_seconds=MAX_REFERENCE_SECONDS,
                max_reference_bytes=MAX_AUDIO_BYTES,
                max_transcript_characters=MAX_TRANSCRIPT_CHARACTERS,
                max_text_characters=MAX_SPOKEN_CHARACTERS,
                max_texts=MAX_TEXTS,
                max_new_tokens=MAX_NEW_TOKENS,
            ),
            transcribes=self._hearing.is_there,
            requires_consent=self._require_consent,
            versions=dict(info.versions),
        )

    def health(self) -> HealthAnswer:
        """Say what there is to do now. Costs nothing."""
        load = self._scheduler.load()
        return HealthAnswer(
            ready=self._has_room(),
            model_id=self._info.model_id,
            waiting=load.waiting,
            speaking=load.begun,
            seconds_per_request=load.seconds_per_request,
        )

    def _has_room(self) -> bool:
        try:
            self._scheduler.check()
        except SpeechError:
            return False
        return True

    async def _make_prompt(
        self,
        samples: NDArray[np.float32],
        transcript: str | None,
        consent: ConsentRecord | None,
        caller: str,
    ) -> bytes:
        return await self._scheduler.prompt(
            samples, transcript, consent, caller=caller, deadline=_PROMPT_SECONDS
        )

    async def _speak_all(self, wishes: Sequence[Wish], prompt: bytes, caller: str) -> list[bytes]:
        tasks = [
            asyncio.create_task(self._speak_whole(wish, prompt, caller)) for wish in wishes
        ]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()  # the answer is all of them or none

    async def _speak_whole(self, wish: Wish, prompt: bytes, caller: str) -> bytes:
        pcm = bytearray()
        job = wish.with_voice(prompt)
        with self._scheduler.request(job, caller=caller, deadline=_SPEECH_SECONDS) as chunks:
            async for chunk in chunks:
                if chunk.restarts:
                    pcm.clear()
                pcm += chunk.pcm
        return write_wav(bytes(pcm), REFERENCE_SAMPLE_RATE)

    def _search(self, file: bytes) -> WatermarkAnswer:
        samples = decode_audio(file, MAX_CHECKED_SECONDS)
        confidence = self._watermarker.confidence(samples, REFERENCE_SAMPLE_RATE)
        return WatermarkAnswer(
            watermarked=confidence >= DETECTION_THRESHOLD,
            confidence=confidence,
            seconds=len(samples) / REFERENCE_SAMPLE_RATE,
        )


def _somebody() -> str:
    """Name a caller who gave no name; nobody else waits for its sentences."""
    return f"unnamed {uuid4().hex}"


def _checked_transcript(ref_text: str | None) -> str | None:
    if ref_text is None:
        return None
    if not isinstance(ref_text, str) or len(ref_text) > MAX_TRANSCRIPT_CHARACTERS:
        raise ReferenceUnusableError(
            f"its transcript is no text of at most {MAX_TRANSCRIPT_CHARACTERS} characters"
        )
    return ref_text.strip() or None


def _checked_prompt(prompt: bytes) -> bytes:
    if not isinstance(prompt, bytes) or len(prompt) > MAX_PROMPT_BYTES:
        raise VoicePromptInvalidError(f"it is not bytes, {MAX_PROMPT_BYTES} at most")
    return prompt


def _heard_answer(heard: Heard, given: str | None) -> HeardAnswer:
    differs = given is not None and compare(given, heard) is Verdict.DIFFERS
    return HeardAnswer(text=heard.text, language=heard.language, differs=differs)
