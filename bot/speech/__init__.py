"""The one door to voice cloning: the `SpeechBackend` protocol, and the backends behind it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bot.settings import Settings
    from bot.speech.backend import SpeechBackend


def open_backend(settings: Settings) -> SpeechBackend:
    """Build the speech backend that the settings name; it is started by the caller."""
    match settings.speech_backend:
        case "preview":
            from bot.speech.preview.backend import PreviewBackend  # noqa: PLC0415 - optional extra

            return PreviewBackend()
        case "local":
            from bot.speech.local.backend import LocalBackend  # noqa: PLC0415 - as above
            from bot.speech.local.loading import load_engine  # noqa: PLC0415 - as above

            return LocalBackend(
                partial(
                    load_engine,
                    settings.model_id,
                    settings.weights_folder,
                    transcriber_model=settings.transcriber_model,
                    require_consent=settings.require_consent,
                    plain_package=settings.engine == "reference",
                    cuda_graphs=settings.cuda_graphs,
                )
            )
        case "modal":
            from bot.speech.modal.backend import ModalBackend  # noqa: PLC0415 - half a second
            from bot.speech.modal.client import ModalService  # noqa: PLC0415 - as above

            return ModalBackend(
                ModalService(settings.modal_token()),
                model_id=settings.model_id,
                places=settings.max_modal_calls,
            )
