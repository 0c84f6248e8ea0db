"""The protocol that every source of speech follows."""

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


class SpeechBackend(Protocol):
    """Makes voices from reference clips, and speech from voices.

    Calls may come from many tasks at once and never block the event loop. Every failure is a
    `backend.contract.SpeechError`; anything else is a defect.
    """

    async def start(self) -> None:
        """Get ready to answer. Called once, before any other call."""

    async def close(self) -> None:
        """Release everything. Calls under way fail with `BackendUnavailableError`."""

    def info(self) -> BackendInfo:
        """Say what this backend is. Costs nothing."""

    async def health(self) -> None:
        """Return if the backend could speak now; else raise the error that a request would get."""

    async def prepare_voice(self, clip: ReferenceClip, consent: ConsentRecord) -> PreparedVoice:
        """Make the prompt for a voice, and say what was heard in the clip if the backend listens.

        Raises `ReferenceUnusableError` if the clip cannot serve.
        """

    def speak(self, request: SpeechRequest) -> AsyncGenerator[PcmChunk, None]:
        """Speak one sentence, chunk by chunk as it is made.

        Closing the iterator early stops the work. Raises `VoicePromptModelMismatchError` for a
        prompt of another model, `LanguageNotSupportedError`, `TextNotSpeakableError`.
        """
        ...


@dataclass(frozen=True, slots=True)
class Waking:
    """A backend that was asleep is getting ready to speak.

    Attributes:
        seconds: For how long already.
        usual_seconds: How long that usually takes.
    """

    seconds: float
    usual_seconds: float


@runtime_checkable
class SleepingBackend(SpeechBackend, Protocol):
    """A backend that sleeps while nobody speaks, and takes a while to wake up."""

    def waking(self) -> Waking | None:
        """Say how far the waking is that somebody waits for, or None if nobody does."""

    async def keep_awake(self, seconds: float) -> None:
        """Wake up, and do not sleep for that long from now.

        Returns before it is awake. Raises the error that a request would get.
        """
