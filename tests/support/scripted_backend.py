"""A speech backend whose behaviour a test decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from backend.contract import (
    AUTO_LANGUAGE,
    BackendInfo,
    PcmChunk,
    PreparedVoice,
    SpeechRequest,
    VoicePrompt,
    VoicePromptModelMismatchError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from backend.contract import ConsentRecord, Heard, ReferenceClip

SAMPLE_RATE = 24_000
SECONDS_PER_CHARACTER = 0.05


class ScriptedBackend:
    """Speaks in tones: each voice has its own pitch, so a test can tell whose speech it hears.

    Attributes:
        model_id: Changing it is what a change of the model looks like.
        languages: What it speaks.
        on_speak: Awaited before each sentence; it may wait, or raise.
        on_prepare: Awaited before each voice is prepared; it may wait, or raise.
        hears: Whether it says that it listens to what is said in clips.
        heard: What it says that it heard in every clip.
        spoken: Every sentence, in order.
        consents: The consent record of each voice that was prepared.
        clips: The reference clip of each voice that was prepared.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Be as if new."""
        self.model_id = "scripted/1"
        self.languages: tuple[str, ...] = (AUTO_LANGUAGE, "English")
        self.on_speak: Callable[[SpeechRequest], Awaitable[None]] | None = None
        self.on_prepare: Callable[[ReferenceClip], Awaitable[None]] | None = None
        self.hears = True
        self.heard: Heard | None = None
        self.spoken: list[str] = []
        self.consents: list[ConsentRecord] = []
        self.clips: list[ReferenceClip] = []
        self.closed = False

    async def start(self) -> None:
        self.closed = False

    async def close(self) -> None:
        self.closed = True

    def info(self) -> BackendInfo:
        return BackendInfo(
            name="Scripted voices",
            model_id=self.model_id,
            languages=self.languages,
            clones=False,
            hears=self.hears,
        )

    async def health(self) -> None:
        return

    async def prepare_voice(self, clip: ReferenceClip, consent: ConsentRecord) -> PreparedVoice:
        if self.on_prepare is not None:
            await self.on_prepare(clip)
        self.clips.append(clip)
        self.consents.append(consent)
        pitch = 300 + 100 * len(self.clips)
        prompt = VoicePrompt(data=str(pitch).encode(), model_id=self.model_id)
        return PreparedVoice(prompt, self.heard)

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[PcmChunk, None]:
        if request.prompt.model_id != self.model_id:
            raise VoicePromptModelMismatchError(request.prompt.model_id, self.model_id)
        if self.on_speak is not None:
            await self.on_speak(request)
        self.spoken.append(request.text)
        yield PcmChunk(tone(int(request.prompt.data), len(request.text)), SAMPLE_RATE)


def tone(pitch: int, characters: int) -> bytes:
    """A tone as long as a text of that many characters would take to say; mono s16le."""
    times = np.arange(round(characters * SECONDS_PER_CHARACTER * SAMPLE_RATE)) / SAMPLE_RATE
    return (8_000 * np.sin(2 * np.pi * pitch * times)).astype("<i2").tobytes()
