"""The one door to voice cloning: the `SpeechBackend` protocol, and the backends behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bot.settings import Settings
    from bot.speech.backend import SpeechBackend


def open_backend(settings: Settings) -> SpeechBackend:
    """Build the speech backend that the settings name; it is started by the caller."""
    match settings.speech_backend:
        case "preview":
            from bot.speech.preview_backend import PreviewBackend  # noqa: PLC0415 - optional extra

            return PreviewBackend()
