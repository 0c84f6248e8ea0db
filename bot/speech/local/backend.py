"""Speech by Qwen3-TTS on this machine: the service that Modal hosts, in a process of its own."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from backend.contract import BackendInfo, BackendUnavailableError
from bot.extras import install_command
from bot.speech.worker.host import WorkerBackend

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from backend.contract import (
        ConsentRecord,
        PcmChunk,
        PreparedVoice,
        ReferenceClip,
        SpeechRequest,
    )
    from backend.loading import ServiceOptions
    from backend.service import SpeechService
    from bot.settings import Settings

INSTALL_HINT = (
    f"Speaking on this machine needs more packages. Install them: {install_command('local')}"
)

SENTENCES_AT_ONCE = 4
"""How many sentences of one text to request at once. The engine batches them."""

_NO_TRANSCRIBER = "none"


def open_local_backend(settings: Settings) -> WorkerBackend:
    """Build the backend; its first start may download gigabytes of weights."""
    return WorkerBackend(partial(load_model, service_options(settings)))


def service_options(settings: Settings) -> ServiceOptions:
    """Say what the settings load."""
    from backend.loading import ServiceOptions  # noqa: PLC0415 - only where models run here

    transcriber = settings.transcriber_model
    return ServiceOptions(
        model_id=settings.model_id,
        weights_folder=settings.weights_folder,
        transcriber=None if transcriber == _NO_TRANSCRIBER else transcriber,
        require_consent=settings.require_consent,
        plain_package=settings.engine == "reference",
        text_layout=settings.text_layout,
        cuda_graphs=settings.cuda_graphs,
        weights=settings.weights,
        may_download=True,
        load_transcriber_now=True,
    )


def load_model(options: ServiceOptions, on_breakdown: Callable[[], Awaitable[None]]) -> LocalModel:
    """Load the service; to be called in the process that will host it.

    Raises `BackendUnavailableError` with a sentence for the operator.
    """
    try:
        from backend.loading import open_service  # noqa: PLC0415 - heavy, and an optional extra

        return LocalModel(open_service(options, on_breakdown))
    except ModuleNotFoundError as error:
        raise BackendUnavailableError(f"{INSTALL_HINT} ({error.name} is missing)") from error


class LocalModel:
    """A `HostedModel`: the methods of `SpeechBackend` on a `SpeechService`."""

    def __init__(self, service: SpeechService) -> None:
        self._service = service

    def info(self) -> BackendInfo:
        """Say what the backend is."""
        loaded = self._service.info()
        return BackendInfo(
            name=f"{loaded['model_name']} on this machine",
            model_id=loaded["model_id"],
            languages=tuple(loaded["supported_languages"]),
            sentences_at_once=SENTENCES_AT_ONCE,
        )

    def details(self) -> dict[str, str | float]:
        """Describe what was loaded, for the log."""
        loaded = self._service.info()
        return {
            "model": loaded["model_id"],
            "device": loaded["gpu"],
            "weights": loaded["weights"],
            "weights_reason": loaded["weights_reason"],
            "dtype": loaded["dtype"],
            "loop": loaded["loop"],
            "attention": loaded["attention_implementation"],
            "text_layout": loaded["text_layout"],
            "cuda_graphs": loaded["cuda_graphs"],
            "cuda_graphs_reason": loaded["cuda_graphs_reason"],
            "gigabytes": round(loaded["memory_bytes"] / 1e9, 2),
            "load_seconds": round(loaded["load_seconds"], 1),
            "transcriber": "with" if loaded["transcribes"] else "without",
        }

    async def health(self) -> None:
        """Return if a request would be accepted now, even if it had to wait."""
        self._service.check_room()

    async def prepare_voice(self, clip: ReferenceClip, consent: ConsentRecord) -> PreparedVoice:
        """Make the prompt for a voice. The caller is the person who consented."""
        caller = "" if consent is None else str(consent.attested_by)
        return await self._service.prepare_voice(clip, consent, caller=caller)

    def speak(self, request: SpeechRequest) -> AsyncGenerator[PcmChunk, None]:
        """Speak one sentence. Requests under way at the same time are batched."""
        return self._service.stream(request)
