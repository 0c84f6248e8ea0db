"""The protocol that every source of speech follows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

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
