"""Open the service with the weights on the volume."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from backend.engine.engine import Engine
from backend.reference.fetch import fetch_audio
from backend.reference.transcriber import Transcriber
from backend.reference.transcript import Hearing
from backend.service import SpeechService
from backend.speaker import Speaker
from backend.watermark.watermark import Watermarker
from backend.weights.checkpoints import find_checkpoint
from backend.weights.folders import folder_of, revision_of
from backend.weights.store import TRANSCRIBER_FILES, Weights, is_whole, load_path

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from backend.settings import DeploySettings
    from backend.weights.checkpoints import Checkpoint

log = logging.getLogger(__name__)

_PROMPT_SECONDS = 60.0
_SPEECH_SECONDS = 180.0
"""Deadlines of a call's two steps. With the fetching of a reference they stay below the 300 s after
which Modal ends a call, so that its caller gets a reason instead."""


def open_service(
    settings: DeploySettings, volume: Path, on_breakdown: Callable[[], Awaitable[None]]
) -> SpeechService:
    """Load everything onto the GPU, or the CPU if there is none. Blocks for as long as that takes.

    Args:
        settings: Which model, and under which rules.
        volume: Where downloaded weights are kept.
        on_breakdown: Called when the model keeps crashing: the process should be replaced.

    Raises `UnknownModelError` or `BackendUnavailableError` if the model cannot be loaded.
    """
    checkpoint = find_checkpoint(settings.model_id)
    location, revision = _location(checkpoint, volume)
    device = "cuda:0" if torch.cuda.is_available() else "cpu"
    watermarker = Watermarker(device)
    engine = Engine.load(
        location,
        watermark=watermarker,
        model_id=checkpoint.model_id,
        revision=revision,
        device=device,
        require_consent=settings.require_consent,
        plain_package=settings.plain_package,
        cuda_graphs=settings.cuda_graphs,
    )
    return SpeechService(
        Speaker(
            engine, on_breakdown, prompt_seconds=_PROMPT_SECONDS, speech_seconds=_SPEECH_SECONDS
        ),
        engine.info(),
        watermarker=watermarker,
        hearing=Hearing(_transcriber_loader(settings.transcriber, volume)),
        fetch=fetch_audio,
        label=checkpoint.label,
        require_consent=settings.require_consent,
    )


def _location(checkpoint: Checkpoint, volume: Path) -> tuple[str, str | None]:
    if checkpoint.folder is not None:
        return str(checkpoint.folder), None
    folder = folder_of(checkpoint.model_id, volume)
    path = load_path(folder, Weights(checkpoint.model_id, revision_of(checkpoint.model_id)))
    if path.warning is not None:
        log.warning("%s. Run: modal run deploy_backend.py::download_weights", path.warning)
    return path.location, path.revision


def _transcriber_loader(transcriber: str | None, volume: Path) -> Callable[[], Transcriber] | None:
    """Find the transcriber's weights; they are never downloaded while somebody waits for them."""
    if transcriber is None:
        return None
    if transcriber.startswith("/"):
        return lambda: Transcriber(Path(transcriber))
    folder = folder_of(transcriber, volume)
    if is_whole(folder, Weights(transcriber, revision_of(transcriber), TRANSCRIBER_FILES)):
        return lambda: Transcriber(folder)
    log.warning(
        "nothing listens to reference clips, because the transcriber's weights are not there. "
        "Run: modal run deploy_backend.py::download_weights"
    )
    return None
