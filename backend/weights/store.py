"""The folders that hold weights, and whether they are whole.

A folder is whole when its manifest says so. The manifest is written last, after the size and
checksum of every file were checked, and removed before a file is changed. So a download that was
cut off is never taken for a model. The hub's own client does not promise that: if it cannot reach
the hub, it returns whatever the folder holds.

Needs only the standard library: the hub's client reads its settings when it is imported, so whether
the hub is needed at all has to be known before.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from backend.weights.checkpoints import PUBLISHED

if TYPE_CHECKING:
    from pathlib import Path

SPEECH_MODEL_FILES = ("*.json", "*.safetensors", "*.txt")
"""The files of a speech model. Weights in other formats are pickles, which can run code."""

TRANSCRIBER_FILES = ("*.json", "model.bin", "vocabulary.*")
"""The files of a Whisper model converted for CTranslate2. Its model.bin is no pickle."""

_LATEST = "main"
_NAME = "timbre-weights.json"
_FORMAT = 1
_MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Weights:
    """Which weights are needed.

    Attributes:
        repo_id: Their repository on the hub.
        revision: A commit, so that they never change; or a tag or branch.
        files: Patterns of the files that are needed.
    """

    repo_id: str
    revision: str
    files: tuple[str, ...] = SPEECH_MODEL_FILES


def weights_of(repo_id: str) -> Weights:
    """The weights in a repository: those of a published speech model, else of a Whisper model.

    A speech model is pinned to a commit. A Whisper model is taken at its latest commit, and the
    manifest says which one that was.
    """
    for checkpoint in PUBLISHED:
        if checkpoint.model_id == repo_id and checkpoint.revision is not None:
            return Weights(repo_id, checkpoint.revision)
    return Weights(repo_id, _LATEST, TRANSCRIBER_FILES)


def folder_of(repo_id: str, weights_folder: Path) -> Path:
    """The folder of a repository's weights."""
    return weights_folder / repo_id.replace("/", "--")


def stored(repo_id: str, weights_folder: Path) -> Manifest | None:
    """The manifest of a repository's weights, or None if they are not on the disk in full."""
    return Manifest.read_if_whole(folder_of(repo_id, weights_folder), weights_of(repo_id))


def is_whole(folder: Path, weights: Weights) -> bool:
    """Whether a folder holds these weights, every file at its full size. Other files do no harm."""
    return Manifest.read_if_whole(folder, weights) is not None


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """One file of the weights.

    Attributes:
        path: Inside the folder, with slashes.
        size: In bytes.
        sha256: Its checksum, which the hub knows of large files.
        git_blob: Git's own checksum, which the hub knows of small files.
    """

    path: str
    size: int
    sha256: str | None
    git_blob: str | None = None

    def __post_init__(self) -> None:
        """Raises `ValueError` for a path that leads out of the folder."""
        path = PurePosixPath(self.path)
        if path.is_absolute() or ".." in path.parts or not isinstance(self.size, int):
            raise ValueError("a file of the weights lies outside their folder, or has no size")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a whole folder holds, and where it came from.

    Attributes:
        repo_id: The repository on the hub.
        revision: What was asked for: a commit, tag or branch.
        commit: The commit that this was.
        files: All files that are needed.
    """

    repo_id: str
    revision: str
    commit: str
    files: tuple[WeightsFile, ...]

    def missing_in(self, folder: Path) -> list[WeightsFile]:
        """The files that a folder lacks, or holds at another size."""
        return [file for file in self.files if size_of(folder / file.path) != file.size]

    def write(self, folder: Path) -> None:
        """Write it into a folder, in full or not at all."""
        partial = folder / f"{_NAME}.partial"
        with partial.open("w", encoding="utf-8") as stream:
            json.dump({"format": _FORMAT, **asdict(self)}, stream, indent=2)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(folder / _NAME)

    @classmethod
    def read(cls, folder: Path) -> Manifest | None:
        """The manifest in a folder, or None if there is no valid one."""
        try:
            with (folder / _NAME).open(encoding="utf-8") as stream:
                content = json.loads(stream.read(_MAX_BYTES))
            if content.pop("format") != _FORMAT:
                return None
            files = tuple(WeightsFile(**file) for file in content.pop("files"))
            return cls(**content, files=files) if files else None
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None

    @classmethod
    def read_if_whole(cls, folder: Path, weights: Weights) -> Manifest | None:
        """The manifest in a folder that holds all of these weights, or None if it does not."""
        manifest = cls.read(folder)
        if manifest is None or manifest.repo_id != weights.repo_id:
            return None
        if weights.revision not in {manifest.revision, manifest.commit}:
            return None
        return None if manifest.missing_in(folder) else manifest

    @staticmethod
    def remove(folder: Path) -> None:
        """Remove it, before any of its files is changed."""
        (folder / _NAME).unlink(missing_ok=True)


def size_of(path: Path) -> int | None:
    """A file's size on the disk, in bytes, or None if there is no such file (any more)."""
    try:
        return path.stat().st_size if path.is_file() else None
    except OSError:
        return None
