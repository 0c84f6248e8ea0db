"""Load the engine for this machine, with weights that are downloaded when they are first needed."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from backend.contract import BackendInfo, BackendUnavailableError
from backend.engine.engine import Engine
from bot.speech.worker.process import LoadedEngine

if TYPE_CHECKING:
    from pathlib import Path

    from backend.engine.interface import EngineInfo
    from backend.reference.transcriber import Transcriber
    from backend.weights.checkpoints import Checkpoint
    from backend.weights.store import Progress, Weights

INSTALL_HINT = "Speaking on this machine needs more packages: pip install 'timbre[local]'"

NO_TRANSCRIBER = "none"

SENTENCES_AT_ONCE = 4
"""Of one text. The engine speaks them together."""

log = logging.getLogger(__name__)


def load_engine(  # noqa: PLR0913 - the operator's choices
    model_id: str,
    weights_folder: Path,
    *,
    transcriber_model: str,
    require_consent: bool,
    plain_package: bool,
    cuda_graphs: bool,
) -> LoadedEngine:
    """Load a model onto this machine's GPU, or else its processor.

    Args:
        model_id: A published checkpoint, or a folder that holds one.
        weights_folder: Where published weights are kept; each model gets a folder in it.
        transcriber_model: What hears reference clips: a Whisper model that faster-whisper knows, or
            the folder of one; "" is a choice that suits the device, "none" goes without.
        require_consent: Whether a voice prompt needs a consent record.
        plain_package: Whether qwen-tts speaks with its own loop, to compare with ours.
        cuda_graphs: Whether a GPU's work is recorded and replayed.

    Raises `BackendUnavailableError` with a sentence for the operator.
    """
    from backend.weights.checkpoints import UnknownModelError, find_checkpoint  # noqa: PLC0415 - not the bot's

    try:
        checkpoint = find_checkpoint(model_id)
    except UnknownModelError as error:
        raise BackendUnavailableError(f"{error}.") from error
    try:
        loaded = _load(
            checkpoint,
            weights_folder,
            require_consent=require_consent,
            plain_package=plain_package,
            cuda_graphs=cuda_graphs,
        )
        transcriber = _load_transcriber(transcriber_model)
    except ModuleNotFoundError as error:
        raise BackendUnavailableError(f"{INSTALL_HINT} ({error.name} is missing)") from error
    hears = "with" if transcriber else "without"
    return replace(loaded, transcriber=transcriber, details={**loaded.details, "hearing": hears})


def _load(
    checkpoint: Checkpoint,
    weights_folder: Path,
    *,
    require_consent: bool,
    plain_package: bool,
    cuda_graphs: bool,
) -> LoadedEngine:
    location, revision = _fetch(checkpoint, weights_folder)

    # After the download, because these alone take many seconds.
    import torch  # noqa: PLC0415 - heavy, and optional

    from backend.watermark.watermark import Watermarker  # noqa: PLC0415 - heavy

    device = "cuda:0" if torch.cuda.is_available() else "cpu"
    engine = Engine.load(
        location,
        watermark=Watermarker(device),
        model_id=checkpoint.model_id,
        revision=revision,
        device=device,
        require_consent=require_consent,
        plain_package=plain_package,
        cuda_graphs=cuda_graphs,
    )
    loaded = engine.info()
    info = BackendInfo(
        name=f"{checkpoint.label} on this machine",
        model_id=loaded.model_id,
        languages=loaded.languages,
        sentences_at_once=SENTENCES_AT_ONCE,
    )
    return LoadedEngine(engine, None, info, _details(loaded))


def _load_transcriber(model: str) -> Transcriber | None:
    """Load what hears reference clips; speech works without it."""
    if model == NO_TRANSCRIBER:
        return None
    import torch  # noqa: PLC0415 - heavy, and optional

    from backend.reference.transcriber import CPU_MODEL, DEFAULT_MODEL, Transcriber  # noqa: PLC0415 - heavy

    has_gpu = torch.cuda.is_available()
    try:
        return Transcriber(
            model or (DEFAULT_MODEL if has_gpu else CPU_MODEL), device="cuda" if has_gpu else "cpu"
        )
    except BackendUnavailableError as error:
        log.warning("recordings without a transcript are cloned less well: %s", error)
        return None


def _fetch(checkpoint: Checkpoint, weights_folder: Path) -> tuple[str, str | None]:
    """Make sure that the weights are here; return their folder and the commit they are of."""
    from backend.weights.folders import folder_of  # noqa: PLC0415 - not the bot's
    from backend.weights.store import Weights, is_whole, load_path  # noqa: PLC0415 - heavy

    if checkpoint.folder is not None or checkpoint.revision is None:
        return str(checkpoint.folder), None
    weights = Weights(checkpoint.model_id, checkpoint.revision)
    folder = folder_of(checkpoint.model_id, weights_folder)
    if not is_whole(folder, weights):
        _download(folder, weights, checkpoint.label)
    path = load_path(folder, weights)
    return path.location, path.revision


def _download(folder: Path, weights: Weights, label: str) -> None:
    from tqdm import tqdm  # noqa: PLC0415 - comes with the model's

    from backend.weights.store import fill  # noqa: PLC0415 - heavy

    with tqdm(desc=f"Downloading {label}", unit="B", unit_scale=True, disable=None) as bar:

        def show(progress: Progress) -> None:
            bar.total = progress.total
            bar.update(progress.done - bar.n)

        fill(folder, weights, on_progress=show)


def _details(info: EngineInfo) -> dict[str, str | float]:
    """Choose what an operator wants to see in the log."""
    return {
        "model": info.model_id,
        "device": info.device_name,
        "dtype": info.dtype,
        "attention": info.attention,
        "gigabytes": round(info.memory_bytes / 1e9, 2),
        "load_seconds": round(info.load_seconds, 1),
    }
