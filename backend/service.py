"""What the GPU side does for its callers, on Modal and on this machine.

A service owns one loaded model. The scheduler shares it between any number of calls; everything
else that blocks runs in threads. Requests are checked before any work is done for them, and what
they contain is never logged.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import uuid4

from backend.answers import (
    LIMITS,
    MAX_TEXTS,
    HealthAnswer,
    HeardAnswer,
    ModelInfoAnswer,
    TranscriptAnswer,
    VoicePromptAnswer,
    WatermarkAnswer,
)
from backend.consent import read_consent
from backend.contract import (
    MAX_CHECKED_SECONDS,
    MAX_TRANSCRIPT_CHARACTERS,
    REFERENCE_SAMPLE_RATE,
    BackendUnavailableError,
    PreparedVoice,
    ReferenceUnusableError,
    SpeechError,
    SpeechRequest,
    TextNotSpeakableError,
    VoicePrompt,
    VoicePromptInvalidError,
    VoicePromptModelMismatchError,
    check_request,
)
from backend.reference.audio import (
    decode_audio,
    load_reference,
    read_clip,
    write_wav,
)
from backend.scheduling.scheduler import Scheduler, SchedulerLimits
from backend.sent_audio import read_audio_file
from backend.voice_prompt import MAX_PROMPT_BYTES
from backend.watermark.search import WatermarkSearch

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from backend.consent import Consent
    from backend.contract import ConsentRecord, PcmChunk, ReferenceClip
    from backend.engine.interface import SpeechEngine
    from backend.reference.transcript import LazyTranscriber
    from backend.sent_audio import FetchAudio
    from backend.watermark.watermark import Watermarker


class SpeechService:
    """Clones voices and speaks with them.

    To be used from one event loop. Every failure is a `backend.contract.SpeechError`; a ValueError
    is a mistake of the calling program. An empty `caller` is a caller of its own.

    Args:
        engine: Nothing else may use it from now on.
        watermarker: Finds the watermark in recordings.
        transcriber: Writes down what reference clips say.
        fetch: Downloads reference audio from an address.
        label: The model's name for people.
        require_consent: Whether a voice needs a consent record.
        on_breakdown: Called once when the process should be replaced: the model keeps crashing or
            hangs, or the GPU is lost.
        prompt_seconds: The deadline of a voice prompt; None for no such limit.
        speech_seconds: The deadline of a sentence; None for no such limit.
        limits: How many requests may wait, and how long a step may take. The engine says how many
            run at once.
    """

    def __init__(  # noqa: PLR0913 - the parts it is made of
        self,
        engine: SpeechEngine,
        *,
        watermarker: Watermarker,
        transcriber: LazyTranscriber,
        fetch: FetchAudio,
        label: str,
        require_consent: bool,
        on_breakdown: Callable[[], Awaitable[None]],
        prompt_seconds: float | None = None,
        speech_seconds: float | None = None,
        limits: SchedulerLimits | None = None,
    ) -> None:
        limits = replace(limits or SchedulerLimits(), rows=engine.rows)
        self._scheduler = Scheduler(engine, limits)
        self._info = engine.info()
        self._rows = engine.rows
        self._search = WatermarkSearch(watermarker)
        self._transcriber = transcriber
        self._fetch = fetch
        self._label = label
        self._require_consent = require_consent
        self._on_breakdown = on_breakdown
        self._has_broken_down = False
        self._prompt_seconds = prompt_seconds
        self._speech_seconds = speech_seconds
        self._languages = {language.casefold(): language for language in self._info.languages}

    @property
    def model_id(self) -> str:
        """The loaded model, which alone can use the prompts made here."""
        return self._info.model_id

    @property
    def rows(self) -> int:
        """How many sentences are spoken at once; others wait."""
        return self._rows

    @property
    def step_under_way(self) -> int | None:
        """The number of the model's present step, or None if it has nothing to do.

        While it stays the same, no frame ends and no voice prompt is made.
        """
        return self._scheduler.step_under_way

    async def close(self) -> None:
        """Fail all running calls with `BackendUnavailableError`, and stop the model."""
        await self._scheduler.close()

    def check_room(self) -> None:
        """Raise what a new request would get now, if it would be refused."""
        self._scheduler.check_room()

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
            texts: 1 to `MAX_TEXTS` texts. `check_request` checks each with its language, the seed
                and the limit.
            languages: One for each text.
            ref_audio: What `load_reference` takes.
            ref_text: Exactly what is said in it; None takes what is heard.
            max_new_tokens: The most codec frames for each text.
            consent: What `read_consent` takes.
            seed: Makes the speech reproducible.

        Returns:
            A WAV file for each text: mono, 16-bit, 24 kHz.
        """
        if not 1 <= len(texts) <= MAX_TEXTS:
            raise TextNotSpeakableError(f"one call speaks 1 to {MAX_TEXTS} texts")
        if len(languages) != len(texts):
            raise ValueError("there must be one language for each text")
        caller = _named("")
        no_voice_yet = VoicePrompt(b"", self.model_id)
        requests = [
            self._checked(SpeechRequest(text, no_voice_yet, language, seed, caller, max_new_tokens))
            for text, language in zip(texts, languages, strict=True)
        ]
        record, transcript = self._checked_reference(consent, ref_text)
        samples = await load_reference(ref_audio, self._fetch)
        if transcript is None:
            transcript, _ = await self._transcriber.find_transcript(samples, None)
        prompt = await self._make_prompt(samples, transcript, record, caller)
        tasks = [
            asyncio.create_task(self.speak(replace(request, prompt=prompt))) for request in requests
        ]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def create_voice_prompt(
        self,
        ref_audio: bytes | str,
        ref_text: str | None,
        *,
        consent: Consent | None,
        caller: str,
        sound_alone: bool = False,
    ) -> VoicePromptAnswer:
        """Make a voice to keep.

        Args:
            ref_audio: What `load_reference` takes.
            ref_text: Exactly what is said in it; None takes what is heard.
            consent: What `read_consent` takes.
            caller: Whose request it is.
            sound_alone: Make it of the sound alone, whatever is said.
        """
        record, given = self._checked_reference(consent, ref_text)
        samples = await load_reference(ref_audio, self._fetch)
        voice, transcript = await self._prepare(
            samples, given, record, caller, sound_alone=sound_alone
        )
        heard = voice.heard
        return VoicePromptAnswer(
            prompt=voice.prompt.data,
            model_id=voice.prompt.model_id,
            mode="x-vector" if transcript is None else "in-context",
            transcript=transcript,
            heard=None
            if heard is None
            else HeardAnswer(text=heard.text, language=heard.language, differs=heard.differs),
        )

    async def prepare_voice(
        self, clip: ReferenceClip, consent: ConsentRecord | None, *, caller: str
    ) -> PreparedVoice:
        """Make a voice to keep, from a clip that is decoded already.

        Args:
            clip: PCM at 24 kHz. Without a transcript, the voice is made with what is heard.
            consent: Who attested that the voice may be cloned.
            caller: Whose request it is.
        """
        record, given = self._checked_reference(consent, clip.transcript)
        samples, sound_alone = read_clip(clip), clip.sound_alone
        voice, _ = await self._prepare(samples, given, record, caller, sound_alone=sound_alone)
        return voice

    async def speak(self, request: SpeechRequest) -> bytes:
        """Speak a sentence, and return a WAV file: mono, 16-bit, 24 kHz."""
        pcm = bytearray()
        async with aclosing(self.stream(request)) as chunks:
            async for chunk in chunks:
                if chunk.restarts:
                    pcm.clear()
                pcm += chunk.pcm
        return write_wav(bytes(pcm))

    async def stream(self, request: SpeechRequest) -> AsyncGenerator[PcmChunk, None]:
        """Speak a sentence, chunk by chunk as it is made. Closing the generator stops the work."""
        checked = self._checked(request)
        async with self._watching_for_breakdown():
            with self._scheduler.submit(checked, deadline=self._speech_seconds) as chunks:
                async for chunk in chunks:
                    yield chunk

    async def transcribe(
        self, ref_audio: bytes | str, *, consent: Consent | None = None
    ) -> TranscriptAnswer:
        """Write down what a reference clip says. Takes what `load_reference` takes.

        Raises `BackendUnavailableError` if there is no transcriber.
        """
        read_consent(consent, is_required=False)
        samples = await load_reference(ref_audio, self._fetch)
        heard = await self._transcriber.transcribe(samples)
        if heard is None:
            raise BackendUnavailableError("no transcriber is set up, or its weights are missing")
        return TranscriptAnswer(
            text=heard.text, language=heard.language, language_confidence=heard.language_confidence
        )

    async def detect_watermark(self, audio: bytes | str) -> WatermarkAnswer:
        """Tell whether a recording of at most `MAX_CHECKED_SECONDS` was made by Timbre.

        Args:
            audio: An audio file, in any form that `load_reference` takes.

        Raises `ReferenceUnusableError` if it cannot be read.
        """
        file = await read_audio_file(audio, self._fetch)
        samples = await asyncio.to_thread(decode_audio, file, MAX_CHECKED_SECONDS)
        found = await self._search.search(samples)
        return WatermarkAnswer(
            watermarked=found.is_marked,
            confidence=found.confidence,
            speed=found.speed,
            seconds=len(samples) / REFERENCE_SAMPLE_RATE,
        )

    def info(self) -> ModelInfoAnswer:
        """Say what is loaded, and on what; and measure the GPU's memory."""
        info, free, total = self._info, 0, 0
        if info.device != "cpu":
            import torch  # noqa: PLC0415 - this file is also for programs without it

            free, total = torch.cuda.mem_get_info(info.device)
        return ModelInfoAnswer(
            model_id=info.model_id,
            model_name=self._label,
            revision=info.revision,
            loop=info.loop,
            attention_implementation=info.attention,
            codec_attention_implementation=info.codec_attention,
            text_layout=info.text_layout,
            cuda_graphs=info.cuda_graphs,
            cuda_graphs_reason=info.cuda_graphs_reason,
            device=info.device,
            gpu=info.device_name,
            gpu_memory_gb=total / 1e9,
            gpu_memory_free_bytes=free,
            weights=info.weights,
            weights_reason=info.weights_reason,
            dtype=info.dtype,
            codec_dtype=info.codec_dtype,
            memory_bytes=info.memory_bytes,
            rows=self._rows,
            load_seconds=info.load_seconds,
            supported_languages=list(info.languages),
            limits=dict(LIMITS),
            transcribes=self._transcriber.is_there,
            requires_consent=self._require_consent,
            versions=dict(info.versions),
        )

    def health(self) -> HealthAnswer:
        """Say whether a request would be accepted now, and what there is to do."""
        try:
            self.check_room()
            is_ready = True
        except SpeechError:
            is_ready = False
        load = self._scheduler.load()
        return HealthAnswer(
            ready=is_ready,
            model_id=self.model_id,
            waiting=load.waiting,
            speaking=load.running,
            seconds_per_request=load.seconds_per_request,
        )

    def _checked(self, request: SpeechRequest) -> SpeechRequest:
        """Check a request; name its caller, and its language as the model spells it."""
        prompt = request.prompt
        if not isinstance(prompt.data, bytes) or len(prompt.data) > MAX_PROMPT_BYTES:
            raise VoicePromptInvalidError(f"it is not bytes, {MAX_PROMPT_BYTES} at most")
        if prompt.model_id != self.model_id:
            raise VoicePromptModelMismatchError(prompt.model_id, self.model_id)
        language = self._languages.get(str(request.language).casefold(), request.language)
        checked = replace(request, language=language, caller=_named(request.caller))
        check_request(checked, self._info.languages)
        return checked

    def _checked_reference(
        self, consent: Consent | None, transcript: str | None
    ) -> tuple[ConsentRecord | None, str | None]:
        """Check what comes with a reference clip, and that the scheduler has room."""
        record = read_consent(consent, is_required=self._require_consent)
        if transcript is not None:
            if not isinstance(transcript, str) or len(transcript) > MAX_TRANSCRIPT_CHARACTERS:
                most = MAX_TRANSCRIPT_CHARACTERS
                raise ReferenceUnusableError(
                    f"its transcript is not a text of at most {most} characters"
                )
            transcript = transcript.strip() or None
        self.check_room()
        return record, transcript

    async def _prepare(
        self,
        samples: NDArray[np.float32],
        given: str | None,
        consent: ConsentRecord | None,
        caller: str,
        *,
        sound_alone: bool,
    ) -> tuple[PreparedVoice, str | None]:
        """Make a voice from a clip; return it with the transcript that it was made with."""
        transcript = heard = None
        if not sound_alone:
            transcript, heard = await self._transcriber.find_transcript(samples, given)
        prompt = await self._make_prompt(samples, transcript, consent, _named(caller))
        return PreparedVoice(prompt, heard), transcript

    async def _make_prompt(
        self,
        samples: NDArray[np.float32],
        transcript: str | None,
        consent: ConsentRecord | None,
        caller: str,
    ) -> VoicePrompt:
        async with self._watching_for_breakdown():
            return await self._scheduler.make_prompt(
                samples, transcript, consent, caller=caller, deadline=self._prompt_seconds
            )

    @asynccontextmanager
    async def _watching_for_breakdown(self) -> AsyncIterator[None]:
        try:
            yield
        except SpeechError:
            if self._scheduler.is_beyond_repair and not self._has_broken_down:
                self._has_broken_down = True
                await self._on_breakdown()
            raise


def _named(caller: str) -> str:
    return caller or f"unnamed {uuid4().hex}"
