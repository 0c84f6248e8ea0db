"""The weights of the voice engine and its transcriber: which suit this machine, and their download.

It runs in the process that will host the model, since torch alone knows whether it can use a GPU.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from backend.contract import BackendUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from backend.loading import ServiceOptions
    from backend.weights.download import Missing
    from backend.weights.store import StoredWeights

T = TypeVar("T")

log = logging.getLogger(__name__)

_UNTRANSCRIBED = "recordings without a transcript are cloned less well: %s"


def with_weights(options: ServiceOptions) -> ServiceOptions:
    """Choose the models that the options leave open, and download what is missing of their weights.

    What is downloaded, and how far that is, appears on standard error. If nothing is missing, no
    network is needed. A transcriber that can't be had is left out, with a warning in the log.

    Returns:
        The options with a model, and a folder for the transcriber.

    Raises `BackendUnavailableError` with a sentence for the operator.
    """
    from backend.weights.checkpoints import (  # noqa: PLC0415 - only where models run here
        DEFAULT_MODEL_ID,
        PUBLISHED,
        SMALL_MODEL_ID,
    )
    from backend.weights.download import told  # noqa: PLC0415 - as above

    model_id = options.model_id or (DEFAULT_MODEL_ID if _has_gpu() else SMALL_MODEL_ID)
    is_published = any(each.model_id == model_id for each in PUBLISHED)
    model = _missing(model_id, options) if is_published else None
    folder = _folder_of_transcriber(options)
    transcriber = None if folder is not None else _tried(lambda: _missing_transcriber(options))
    with told([each for each in (model, transcriber) if each is not None], sys.stderr):
        if model is not None:
            model.fetch()
        if transcriber is not None:
            fetched: StoredWeights | None = _tried(transcriber.fetch)
            folder = None if fetched is None else fetched.folder
    transcriber_folder = None if folder is None else str(folder.absolute())
    return replace(options, model_id=model_id, transcriber=transcriber_folder)


def _missing(repo_id: str, options: ServiceOptions) -> Missing:
    from backend.weights.download import Missing  # noqa: PLC0415 - only where models run here

    return Missing.of(repo_id, options.weights_folder)


def _folder_of_transcriber(options: ServiceOptions) -> Path | None:
    """The transcriber's folder, if the operator named one."""
    if not options.transcriber:
        return None
    folder = Path(options.transcriber).expanduser()
    return folder if folder.is_absolute() or folder.is_dir() else None


def _missing_transcriber(options: ServiceOptions) -> Missing | None:
    if options.transcriber is None:
        return None
    from backend.reference.transcriber import (  # noqa: PLC0415 - heavy
        CPU_MODEL,
        GPU_MODEL,
        repository_of,
    )

    name = options.transcriber or (GPU_MODEL if _has_gpu() else CPU_MODEL)
    return _missing(repository_of(name), options)


def _tried(get: Callable[[], T]) -> T | None:
    """Get something that a voice can be made without."""
    try:
        return get()
    except BackendUnavailableError as error:
        log.warning(_UNTRANSCRIBED, error)
        return None


def _has_gpu() -> bool:
    import torch  # noqa: PLC0415 - seconds

    return bool(torch.cuda.is_available())
