"""The one door to voice cloning: the `SpeechBackend` protocol, and the backends behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bot.settings import Settings
    from bot.speech.backend import SpeechBackend


def open_backend(settings: Settings) -> SpeechBackend:
    """Build the speech backend that the settings name; the caller starts it."""
    match settings.speech_backend:
        case "preview":
            from bot.speech.preview.backend import PreviewBackend  # noqa: PLC0415 - only if chosen

            return PreviewBackend()
        case "local":
            from bot.speech.local.backend import open_local_backend  # noqa: PLC0415 - as above

            return open_local_backend(settings)
        case "http":
            from bot.speech.http.backend import HttpBackend  # noqa: PLC0415 - as above
            from bot.speech.http.server import SpeechServer  # noqa: PLC0415 - as above

            calls = settings.speech_calls
            return HttpBackend(
                SpeechServer(settings.require_speech_url(), settings.speech_key(), calls=calls),
                model=settings.model_id,
                voice=settings.speech_voice,
                calls=calls,
            )
        case "modal":
            from bot.speech.modal.backend import (  # noqa: PLC0415 - half a second
                DEPLOYED_MODEL_ID,
                ModalBackend,
            )
            from bot.speech.modal.client import ModalService  # noqa: PLC0415 - as above

            return ModalBackend(
                ModalService(settings.modal_token()),
                model_id=settings.model_id or DEPLOYED_MODEL_ID,
                slots=settings.max_modal_calls,
            )
