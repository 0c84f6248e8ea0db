"""Opens the service, on Modal and on this machine: finds the weights and loads everything.

Importing this module loads neither torch nor the packages of the models, so options can be made in
a process without them.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from backend.contract import BackendUnavailableError
from backend.scheduling.queue import SchedulerLimits
from backend.weights.checkpoints import UnknownModelError, find_checkpoint
from backend.weights.store import find_weights, inspect, pinned_commit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from backend.engine.interface import TextLayout
    from backend.engine.staging import StagedModel
    from backend.reference.transcriber import Transcriber
    from backend.service import SpeechService
    from backend.weights.checkpoints import Checkpoint
    from backend.weights.formats import WeightChoice
    from backend.weights.store import StoredWeights

log = logging.getLogger(__name__)

PLAIN_STEP_SECONDS = 1_200.0
"""How long a step of the package's own loop may take: it speaks a whole sentence in one step."""

_HOW_TO_DOWNLOAD = "Run: .venv/bin/modal run deploy_backend.py::download_weights"

_TRANSCRIBER_BYTES = 2_500_000_000
"""What a transcriber takes of a GPU's memory: the weights of Whisper large-v3-turbo are 1.6 GB.
Unmeasured."""


@dataclass(frozen=True, slots=True)
class ServiceOptions:
    """What to load, and under which rules.

    Attributes:
        model_id: A published checkpoint, or a folder that holds one.
        weights_folder: Where published weights are kept, as for `find_weights`.
        transcriber: A Whisper model converted for CTranslate2: its folder, its repository on the
            hub, or a name that faster-whisper knows. "" is the one that suits the device, None is
            no transcriber.
        require_consent: Whether a voice needs a consent record.
        plain_package: Whether qwen-tts generates with its own loop, to compare with ours.
        text_layout: Whether prompts have the text "before" the speech or "along" it.
        cuda_graphs: Whether decode steps are captured as CUDA graphs.
        weights: The number format of the language model's weights; "auto" is what suits the device.
        watermark: Whether speech is marked. False is for measurements only: speech that people
            hear has to be marked.
        load_transcriber_now: Whether to load the transcriber at once. Otherwise it is loaded when a
            clip is first transcribed.
        prompt_seconds: The deadline of a voice prompt; None for no such limit.
        speech_seconds: The deadline of a sentence; None for no such limit.
    """

    model_id: str
    weights_folder: Path
    transcriber: str | None
    require_consent: bool = True
    plain_package: bool = False
    text_layout: TextLayout = "before"
    cuda_graphs: bool = True
    weights: WeightChoice = "auto"
    watermark: bool = True
    load_transcriber_now: bool = False
    prompt_seconds: float | None = None
    speech_seconds: float | None = None


def stage_model(options: ServiceOptions) -> StagedModel | None:
    """Import the packages, and read the model into main memory, where there is no GPU yet.

    For the package's own loop, nothing but the packages is loaded, since the GPU decides how it is
    read: None. Raises what `open_service` does.
    """
    checkpoint = checked_checkpoint(options)
    location, revision = _find_weights(checkpoint, options)

    from backend.engine.gpu_hidden import hidden_gpu  # noqa: PLC0415 - as in `open_service`

    with hidden_gpu(), _told_where(location):
        import backend.reference.transcriber  # noqa: PLC0415 - as above
        import backend.service  # noqa: PLC0415 - as above
        import backend.watermark.watermark  # noqa: F401, PLC0415 - as above
        from backend.engine import engine, staging  # noqa: F401, PLC0415 - as above

        if options.plain_package:
            return None
        staged = staging.stage_model(location, model_id=checkpoint.model_id, revision=revision)
    log.info("%s: read into main memory in %.1f s", location, staged.seconds)
    return staged


def open_service(
    options: ServiceOptions,
    on_breakdown: Callable[[], Awaitable[None]],
    staged: StagedModel | None = None,
) -> SpeechService:
    """Load everything onto the GPU, or the CPU if there is none. Blocks until that is done.

    Args:
        options: What to load, and under which rules.
        on_breakdown: Called once when the process should be replaced, as in `SpeechService`.
        staged: The model, if `stage_model` has read it already.

    Raises `BackendUnavailableError` with a sentence for the operator, and ModuleNotFoundError if a
    package is not installed.
    """
    checkpoint = checked_checkpoint(options)
    location, revision = ("", None) if staged else _find_weights(checkpoint, options)

    # Imported after the download, because they take many seconds.
    import torch  # noqa: PLC0415 - see above

    from backend.engine.engine import Engine  # noqa: PLC0415 - see above
    from backend.engine.loading import load_model  # noqa: PLC0415 - see above
    from backend.engine.staging import place_model  # noqa: PLC0415 - see above
    from backend.fetch import fetch_audio  # noqa: PLC0415 - see above
    from backend.reference.transcript import LazyTranscriber  # noqa: PLC0415 - see above
    from backend.service import SpeechService  # noqa: PLC0415 - see above
    from backend.watermark.watermark import Watermarker  # noqa: PLC0415 - see above

    has_gpu = torch.cuda.is_available()
    device = "cuda:0" if has_gpu else "cpu"
    watermarker = Watermarker(device)
    if staged is not None:
        package_model, info = place_model(staged, device, options.weights)
    else:
        with _told_where(location):
            package_model, info = load_model(
                location,
                model_id=checkpoint.model_id,
                revision=revision,
                device=device,
                weights=options.weights,
                plain_package=options.plain_package,
            )
    load_transcriber = _transcriber_loader(options, has_gpu=has_gpu)
    is_transcriber_to_come = load_transcriber is not None and not options.load_transcriber_now
    engine = Engine(
        package_model,
        info,
        watermark=watermarker if options.watermark else None,
        require_consent=options.require_consent,
        text_layout=options.text_layout,
        cuda_graphs=options.cuda_graphs,
        reserved_bytes=_TRANSCRIBER_BYTES if is_transcriber_to_come else 0,
    )
    return SpeechService(
        engine,
        watermarker=watermarker,
        transcriber=LazyTranscriber(load_transcriber),
        fetch=fetch_audio,
        label=checkpoint.label,
        require_consent=options.require_consent,
        on_breakdown=on_breakdown,
        prompt_seconds=options.prompt_seconds,
        speech_seconds=options.speech_seconds,
        limits=SchedulerLimits(step_seconds=PLAIN_STEP_SECONDS) if options.plain_package else None,
    )


@contextmanager
def _told_where(location: str) -> Iterator[None]:
    """Name the weights, and what to do, if they can't be loaded in this block."""
    try:
        yield
    except BackendUnavailableError as error:
        raise BackendUnavailableError(
            f"{location}: {error}. Copy or download it again, or name another with MODEL_ID."
        ) from error


def checked_checkpoint(options: ServiceOptions) -> Checkpoint:
    """Find the checkpoint without loading it, which takes no time.

    Raises `BackendUnavailableError` with a sentence for the operator if there is none of that name,
    or if a folder is not whole.
    """
    try:
        checkpoint = find_checkpoint(options.model_id)
    except UnknownModelError as error:
        raise BackendUnavailableError(f"{error}.") from error
    if checkpoint.folder is not None:
        weights = inspect(checkpoint.folder)
        if weights.defects:
            raise BackendUnavailableError(
                f"The checkpoint isn't whole ({weights}). Copy it again, or name another "
                "with MODEL_ID."
            )
    return checkpoint


def _find_weights(checkpoint: Checkpoint, options: ServiceOptions) -> tuple[str, str | None]:
    """Say where to load a checkpoint from: a folder or the hub; and the commit of its weights."""
    if checkpoint.folder is not None:
        return str(checkpoint.folder), None
    weights = find_weights(checkpoint.model_id, options.weights_folder)
    if not weights.defects:
        _warn_if_not_pinned(weights, checkpoint.revision)
        return str(weights.folder), weights.commit
    log.warning("%s: the hub is asked, which may download all. %s", weights, _HOW_TO_DOWNLOAD)
    return checkpoint.model_id, checkpoint.revision


def _warn_if_not_pinned(weights: StoredWeights, pinned: str | None) -> None:
    if pinned is not None and weights.commit not in {None, pinned}:
        log.warning("%s: not the pinned revision. %s", weights.folder, _HOW_TO_DOWNLOAD)


def _transcriber_loader(
    options: ServiceOptions, *, has_gpu: bool
) -> Callable[[], Transcriber] | None:
    """Find the transcriber; None if there is none, or its weights are missing."""
    if options.transcriber is None:
        return None
    from backend.reference.transcriber import CPU_MODEL, GPU_MODEL, Transcriber  # noqa: PLC0415 - heavy

    model = options.transcriber or (GPU_MODEL if has_gpu else CPU_MODEL)
    if not Path(model).is_absolute():
        weights = find_weights(model, options.weights_folder)
        if weights.defects:
            log.warning("reference clips are not transcribed. %s. %s", weights, _HOW_TO_DOWNLOAD)
            return None
        _warn_if_not_pinned(weights, pinned_commit(model))
        model = str(weights.folder)
    load = partial(Transcriber, model, device="cuda" if has_gpu else "cpu")
    if not options.load_transcriber_now:
        return load
    try:
        transcriber = load()
    except BackendUnavailableError as error:
        log.warning("recordings without a transcript are cloned less well: %s", error)
        return None
    return lambda: transcriber
