"""The protocol that every source of speech implements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from backend.contract import (
        BackendInfo,
        ConsentRecord,
        PcmChunk,
        PreparedVoice,
        ReferenceClip,
        SpeechRequest,
    )


class SpeechModel(Protocol):
    """Makes voice prompts from reference clips, and speech from voice prompts.

    Many tasks may call it at once, and no call blocks the event loop. Every failure is a
    `backend.contract.SpeechError`; anything else is a bug.
    """

    def info(self) -> BackendInfo:
        """Say what this backend is. Costs nothing."""

    async def health(self) -> None:
        """Return if a request would be accepted now, else raise the error that it would get."""

    async def prepare_voice(self, clip: ReferenceClip, consent: ConsentRecord) -> PreparedVoice:
        """Make the prompt for a voice, with a transcript of the clip if the backend has one.

        Raises `ReferenceUnusableError` if no voice can be made from the clip.
        """

    def speak(self, request: SpeechRequest) -> AsyncGenerator[PcmChunk, None]:
        """Speak one sentence, chunk by chunk as it is generated.

        Closing the iterator early cancels the work. Raises `VoicePromptModelMismatchError` for a
        prompt of another model, `LanguageNotSupportedError`, `TextNotSpeakableError`.
        """
        ...


class SpeechBackend(SpeechModel, Protocol):
    """A `SpeechModel` that has to be started and closed."""

    async def start(self) -> None:
        """Get ready to answer. Called once, before any other call."""

    async def close(self) -> None:
        """Release everything. Calls under way fail with `BackendUnavailableError`."""


@dataclass(frozen=True, slots=True)
class ColdStart:
    """A backend that was scaled to zero is starting.

    Attributes:
        seconds: For how long already.
        usual_seconds: How long that usually takes.
    """

    seconds: float
    usual_seconds: float


@runtime_checkable
class SleepingBackend(SpeechBackend, Protocol):
    """A backend that scales to zero while nobody speaks, so that the next call is a cold start."""

    def cold_start(self) -> ColdStart | None:
        """Describe the cold start that a call waits for now, or return None."""

    async def keep_awake(self, seconds: float) -> None:
        """Start the backend, and keep it up for this long from now.

        Does not wait for the start. Raises the error that a request would get.
        """
