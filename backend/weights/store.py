"""Fill a folder with a model's weights from the hub, and know whether it is whole.

A folder is whole when a manifest of its files says so. The manifest is written last, after the size
and checksum of every file were checked, and removed before anything is changed, so a download that
was cut off is never taken for a model. The hub's own client does not promise that: where it cannot
reach the hub, it answers with whatever the folder holds.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout
from huggingface_hub import HfApi
from huggingface_hub.utils.tqdm import disable_progress_bars

from backend.contract import BackendUnavailableError
from backend.weights.manifest import Manifest, WeightsFile, size_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SPEECH_MODEL_FILES = ("*.json", "*.safetensors", "*.txt")
"""What a speech model is read from. Weights in other formats are pickles, which can run code."""

TRANSCRIBER_FILES = ("*.json", "model.bin", "vocabulary.*")
"""What a Whisper model converted for CTranslate2 is read from. Its model.bin is no pickle."""

_LOCK = ".timbre-filling.lock"
_LONGEST_WAIT_SECONDS = 3_600
_SECONDS_BETWEEN_PROGRESS = 0.5


@dataclass(frozen=True, slots=True)
class Weights:
    """Which weights are wanted.

    Attributes:
        repo_id: Their repository on the hub.
        revision: A commit, so that they never change; or a tag or branch.
        files: Patterns of the files that are needed.
    """

    repo_id: str
    revision: str
    files: tuple[str, ...] = SPEECH_MODEL_FILES


@dataclass(frozen=True, slots=True)
class Progress:
    """How much of a download is there, in bytes."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class LoadPath:
    """Where to load a model from.

    Attributes:
        location: A folder, or a repository on the hub.
        revision: The commit that the folder holds, or the revision to ask the hub for.
        warning: Why it is not the folder, in a sentence for the log; None if it is.
    """

    location: str
    revision: str
    warning: str | None = None


def is_whole(folder: Path, weights: Weights) -> bool:
    """Whether a folder holds these weights, every file at its full size.

    Other files in it do no harm.
    """
    return Manifest.read_if_whole(folder, weights.repo_id, weights.revision) is not None


def load_path(folder: Path, weights: Weights) -> LoadPath:
    """Choose where to load weights from: the folder if it is whole, else the hub."""
    manifest = Manifest.read_if_whole(folder, weights.repo_id, weights.revision)
    if manifest is not None:
        return LoadPath(str(folder), manifest.commit)
    warning = (
        f"{folder} does not hold all of {weights.repo_id} at {weights.revision}: "
        "it is loaded from the hub, which may mean to download it again"
    )
    return LoadPath(weights.repo_id, weights.revision, warning)


def fill(
    folder: Path,
    weights: Weights,
    *,
    endpoint: str | None = None,
    token: str | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> None:
    """Download what is missing of the weights, until the folder is whole. Blocks for minutes.

    An interrupted download is resumed. Of several fillers one works and the others wait for it.
    Where nothing is missing, the hub is not asked.

    Args:
        folder: Made if it is not there. Nothing in it but weights that came by this way is touched.
        weights: What to download.
        endpoint: The hub's address; None is the public one.
        token: For a repository that is not public.
        on_progress: Called about twice a second, and at the end.

    Raises `BackendUnavailableError` if the weights cannot be had in full.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / _LOCK, timeout=_LONGEST_WAIT_SECONDS):
            if not is_whole(folder, weights):
                _fill(folder, weights, HfApi(endpoint, token=token or False), on_progress)
    except Timeout as error:
        raise BackendUnavailableError(f"something else is still filling {folder}") from error
    except (OSError, ValueError, RuntimeError) as error:  # the hub client's errors are among these
        raise BackendUnavailableError(
            f"{weights.repo_id} at {weights.revision} could not be downloaded "
            f"({type(error).__name__}): check the network, the name and the free disk space"
        ) from error


def _fill(
    folder: Path, weights: Weights, hub: HfApi, on_progress: Callable[[Progress], None] | None
) -> None:
    previous = Manifest.read(folder)
    manifest = _ask_for_manifest(weights, hub)
    Manifest.remove(folder)
    for file in manifest.missing_in(folder):
        # The hub's client takes a file for complete if it noted so once, whatever its size is now.
        (folder / file.path).unlink(missing_ok=True)
    _download(folder, manifest, hub, on_progress)
    _check(folder, manifest)
    if previous is not None:
        _remove_all_but(manifest, previous, folder)
    manifest.write(folder)


def _ask_for_manifest(weights: Weights, hub: HfApi) -> Manifest:
    """Ask the hub what a whole folder would hold."""
    info = hub.model_info(weights.repo_id, revision=weights.revision, files_metadata=True)
    files = tuple(
        WeightsFile(
            file.rfilename,
            file.size or 0,
            sha256=file.lfs.sha256 if file.lfs else None,
            git_blob=None if file.lfs else file.blob_id,
        )
        for file in info.siblings or ()
        if any(fnmatchcase(file.rfilename, pattern) for pattern in weights.files)
    )
    if not files or info.sha is None:
        raise BackendUnavailableError(f"{weights.repo_id} holds no weights that can be used")
    return Manifest(weights.repo_id, weights.revision, info.sha, files)


def _download(
    folder: Path,
    manifest: Manifest,
    hub: HfApi,
    on_progress: Callable[[Progress], None] | None,
) -> None:
    disable_progress_bars()  # the hub's own, on the standard error
    with ThreadPoolExecutor(1) as pool:
        download = pool.submit(
            hub.snapshot_download,
            manifest.repo_id,
            revision=manifest.commit,
            local_dir=folder,
            allow_patterns=[file.path for file in manifest.files],
        )
        is_done = False
        while not is_done:
            is_done = bool(wait([download], timeout=_SECONDS_BETWEEN_PROGRESS).done)
            if on_progress is not None:
                on_progress(_progress(folder, manifest))
        download.result()


def _progress(folder: Path, manifest: Manifest) -> Progress:
    """Measure what is on the disk, partial files included."""
    paths = [folder / file.path for file in manifest.files]
    partial = (folder / ".cache" / "huggingface").rglob("*.incomplete")
    done = sum(size_of(path) or 0 for path in [*paths, *partial])
    total = sum(file.size for file in manifest.files)
    return Progress(min(done, total), total)


def _check(folder: Path, manifest: Manifest) -> None:
    """Raise `BackendUnavailableError` unless every file is there and undamaged."""
    for file in manifest.missing_in(folder):
        raise BackendUnavailableError(f"{file.path} was not downloaded in full: try again")
    for file in manifest.files:
        path = folder / file.path
        if not _is_undamaged(path, file):
            path.unlink()
            raise BackendUnavailableError(f"{file.path} was damaged on its way: try again")


def _is_undamaged(path: Path, file: WeightsFile) -> bool:
    if file.sha256 is not None:
        return _sha256(path) == file.sha256
    return file.git_blob is None or _git_blob(path) == file.git_blob


def _git_blob(path: Path) -> str:
    """What Git calls a file's content: https://git-scm.com/book/en/v2/Git-Internals-Git-Objects."""
    content = path.read_bytes()  # of a small file
    header = f"blob {len(content)}\0".encode()
    return hashlib.sha1(header + content, usedforsecurity=False).hexdigest()


def _remove_all_but(manifest: Manifest, previous: Manifest, folder: Path) -> None:
    """Remove files of a previous revision, which a model could pick up by their names."""
    kept = {file.path for file in manifest.files}
    for file in previous.files:
        if file.path not in kept:
            (folder / file.path).unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
