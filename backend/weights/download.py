"""Downloads weights from the hub, unless they are on the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filelock import FileLock
from huggingface_hub import snapshot_download

from backend.contract import BackendUnavailableError
from backend.weights.store import find_weights, folder_of, inspect, pinned_commit

if TYPE_CHECKING:
    from pathlib import Path

    from backend.weights.store import StoredWeights

_FILES = ["*.json", "*.txt", "*.safetensors", "model.bin"]
"""The model.bin of a Whisper model is no pickle. Other weights may be, and those can run code."""

_LONGEST_WAIT_SECONDS = 3_600  # for another process that downloads the same


def download(repo_id: str, weights_folder: Path, *, token: str | None = None) -> StoredWeights:
    """Download a repository's weights, unless they are on the disk. Blocks for minutes.

    A published speech model is downloaded at the commit that it is pinned to. A download that was
    interrupted is resumed. If several processes do this at once, one downloads and the others wait.
    The hub's client draws progress bars on standard error.

    Args:
        repo_id: A published speech model, or a Whisper model converted for CTranslate2.
        weights_folder: As for `find_weights`.
        token: For the hub; public models need none.

    Raises `BackendUnavailableError` if they cannot be had in full.
    """
    pinned = pinned_commit(repo_id)
    weights = find_weights(repo_id, weights_folder)
    if _is_wanted(weights, pinned):
        return weights
    folder = folder_of(repo_id, weights_folder)
    try:
        weights_folder.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock", timeout=_LONGEST_WAIT_SECONDS):
            for name in inspect(folder, is_transcriber=pinned is None).defects:
                # The hub's client takes a file for whole that it once downloaded.
                (folder / name).unlink(missing_ok=True)
            snapshot_download(
                repo_id,
                revision=pinned,
                local_dir=folder,
                cache_dir=folder / ".cache",  # a file in the shared cache may be cut off
                allow_patterns=_FILES,
                token=token or False,
            )
    except (OSError, ValueError, RuntimeError) as error:  # the bases of the client's errors
        raise _failure(repo_id, type(error).__name__) from error
    # The client also returns if it cannot reach the hub and the folder holds anything at all.
    weights = inspect(folder, is_transcriber=pinned is None)
    if not _is_wanted(weights, pinned):
        raise _failure(repo_id, str(weights))
    return weights


def _is_wanted(weights: StoredWeights, pinned: str | None) -> bool:
    return not weights.defects and (pinned is None or weights.commit in {None, pinned})


def _failure(repo_id: str, reason: str) -> BackendUnavailableError:
    remedy = "check the network, the name and the free disk space"
    return BackendUnavailableError(f"{repo_id} couldn't be downloaded ({reason}): {remedy}")
