"""Downloads weights from the hub into a folder, until the folder is whole."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor, wait
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout
from huggingface_hub import HfApi
from huggingface_hub.utils.tqdm import disable_progress_bars
from tqdm import tqdm

from backend.contract import BackendUnavailableError
from backend.weights.store import Manifest, WeightsFile, folder_of, is_whole, size_of, weights_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from backend.weights.store import Weights

    OnProgress = Callable[[int, int], None]
    """Takes how many bytes are on the disk, and how many there will be."""

_LOCK = ".timbre-filling.lock"
_LONGEST_WAIT_SECONDS = 3_600
_SECONDS_BETWEEN_PROGRESS = 0.5
_PERCENT_BETWEEN_LINES = 5


def download_with_lines(
    repo_id: str, weights_folder: Path, *, token: str | None, say: Callable[[str], object]
) -> None:
    """Download a repository's weights, unless they are there, and say every 5 % how far it is.

    Args:
        repo_id: A published speech model, or a Whisper model converted for CTranslate2.
        weights_folder: Where the folders of all models are.
        token: For the hub; public models need none.
        say: Shows a line to the person who waits.

    Raises `BackendUnavailableError` if they cannot be had in full.
    """
    next_percent = 0

    def show(done: int, total: int) -> None:
        nonlocal next_percent
        percent = 100 * done // max(1, total)
        if percent >= next_percent:
            next_percent = percent - percent % _PERCENT_BETWEEN_LINES + _PERCENT_BETWEEN_LINES
            say(f"{repo_id}: {percent} %, {done / 1e9:.2f} of {total / 1e9:.2f} GB")

    folder = folder_of(repo_id, weights_folder)
    fill(folder, weights_of(repo_id), token=token, on_progress=show)
    say(f"{repo_id} is whole.")


def download_with_bar(repo_id: str, weights_folder: Path, label: str) -> None:
    """Download a repository's weights and show a progress bar, if standard error is a terminal.

    Args:
        repo_id: As for `download_with_lines`.
        weights_folder: Where the folders of all models are.
        label: The model's name for people.

    Raises `BackendUnavailableError` if they cannot be had in full.
    """
    with tqdm(desc=f"Downloading {label}", unit="B", unit_scale=True, disable=None) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        fill(folder_of(repo_id, weights_folder), weights_of(repo_id), on_progress=show)


def fill(
    folder: Path,
    weights: Weights,
    *,
    endpoint: str | None = None,
    token: str | None = None,
    on_progress: OnProgress | None = None,
) -> None:
    """Download what is missing of the weights, until the folder is whole. Blocks for minutes.

    An interrupted download is resumed. If several processes do this at once, one downloads and the
    others wait for it. If nothing is missing, the hub is not asked.

    Args:
        folder: Created if it does not exist. Only files that were downloaded by this function are
            changed or removed.
        weights: What to download.
        endpoint: The hub's address; None is the public one.
        token: For a repository that is not public.
        on_progress: Called about twice a second, and at the end.

    Raises `BackendUnavailableError` if they cannot be had in full.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / _LOCK, timeout=_LONGEST_WAIT_SECONDS):
            if not is_whole(folder, weights):
                _fill(folder, weights, HfApi(endpoint, token=token or False), on_progress)
    except Timeout as error:
        raise BackendUnavailableError(f"something else is still filling {folder}") from error
    except (
        OSError,
        ValueError,
        RuntimeError,
    ) as error:  # the bases of the hub client's errors
        raise BackendUnavailableError(
            f"{weights.repo_id} at {weights.revision} could not be downloaded "
            f"({type(error).__name__}): check the network, the name and the free disk space"
        ) from error


def _fill(folder: Path, weights: Weights, hub: HfApi, on_progress: OnProgress | None) -> None:
    previous = Manifest.read(folder)
    manifest = _ask_for_manifest(weights, hub)
    Manifest.remove(folder)
    for file in manifest.missing_in(folder):
        # The hub's client skips a file that it once noted as complete, whatever its size is now.
        (folder / file.path).unlink(missing_ok=True)
    _download(folder, manifest, hub, on_progress)
    _check(folder, manifest)
    kept = {file.path for file in manifest.files}
    for file in previous.files if previous is not None else ():
        if file.path not in kept:  # the model's loader might pick it up
            (folder / file.path).unlink(missing_ok=True)
    manifest.write(folder)


def _ask_for_manifest(weights: Weights, hub: HfApi) -> Manifest:
    """Ask the hub for the files of a whole folder."""
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
    on_progress: OnProgress | None,
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
                total = sum(file.size for file in manifest.files)
                on_progress(min(_bytes_on_disk(folder, manifest), total), total)
        download.result()


def _bytes_on_disk(folder: Path, manifest: Manifest) -> int:
    """Count the bytes that are there, partial files included."""
    paths = [folder / file.path for file in manifest.files]
    partial = (folder / ".cache" / "huggingface").rglob("*.incomplete")
    return sum(size_of(path) or 0 for path in [*paths, *partial])


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
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest() == file.sha256
    # Of small files: https://git-scm.com/book/en/v2/Git-Internals-Git-Objects
    content = path.read_bytes()
    blob = hashlib.sha1(f"blob {len(content)}\0".encode() + content, usedforsecurity=False)
    return file.git_blob is None or blob.hexdigest() == file.git_blob
