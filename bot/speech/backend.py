"""The protocols that speech backends implement."""

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

    Many tasks may call it at once, and no call blocks the event loop. Every expected failure is a
    `backend.contract.SpeechError`; any other exception is a bug.
    """

    def info(self) -> BackendInfo:
        """Describe the backend, without a call to it."""

    async def health(self) -> None:
        """Return if a request would be accepted now, else raise the error that it would get."""

    async def prepare_voice(self, clip: ReferenceClip, consent: ConsentRecord) -> PreparedVoice:
        """Make a voice prompt from a clip, and transcribe the clip if the backend can do that.

        Raises `ReferenceUnusableError` if no prompt can be made from the clip.
        """

    def speak(self, request: SpeechRequest) -> AsyncGenerator[PcmChunk, None]:
        """Yield the speech of one sentence, in chunks, as it is generated.

        Closing the iterator early cancels the work. Raises `VoicePromptModelMismatchError` for a
        prompt of another model, `LanguageNotSupportedError`, `TextNotSpeakableError`.
        """
        ...


class SpeechBackend(SpeechModel, Protocol):
    """A `SpeechModel` that has to be started and closed."""

    async def start(self) -> None:
        """Start the backend. Called once, before any other method."""

    async def close(self) -> None:
        """Release all resources. Running calls fail with `BackendUnavailableError`."""


@runtime_checkable
class MarkingBackend(SpeechBackend, Protocol):
    """A backend that marks all its speech inaudibly, and finds the mark in recordings."""

    async def find_watermark(self, flac: bytes, *, caller: str) -> bool:
        """Return whether a recording carries the mark, as far as it can be found.

        Args:
            flac: A FLAC file, mono at `REFERENCE_SAMPLE_RATE`, of at most `MAX_CHECKED_SECONDS`.
            caller: Who the call counts for, see `SpeechRequest`.
        """
        ...


@dataclass(frozen=True, slots=True)
class ColdStart:
    """A backend is starting, after it was scaled to zero or has failed.

    Attributes:
        seconds: How long it has been starting.
        usual_seconds: How long a start usually takes.
    """

    seconds: float
    usual_seconds: float


@runtime_checkable
class StartingBackend(SpeechBackend, Protocol):
    """A backend that may have to start while calls wait for it."""

    def cold_start(self) -> ColdStart | None:
        """Return the cold start that calls are waiting for now, or None."""


@runtime_checkable
class SleepingBackend(StartingBackend, Protocol):
    """A backend that scales to zero when it is idle, so that the next call causes a cold start."""

    async def keep_awake(self, seconds: float) -> float:
        """Start the backend, and keep it running for at least this long from now.

        Does not wait for the start. Returns for how many seconds from now it is kept running: for
        longer, if that was asked for earlier. Raises the error that a request would get.
        """
        ...
