"""What a folder of weights holds when it is whole."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_NAME = "timbre-weights.json"
_FORMAT = 1
_MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """One file of the weights.

    Attributes:
        path: Inside the folder, with slashes.
        size: In bytes.
        sha256: Its checksum, which the hub has of large files.
        git_blob: Git's own checksum, which the hub has of small ones.
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
    """What a whole folder holds, and where that came from.

    Attributes:
        repo_id: The repository on the hub.
        revision: What was asked for: a commit, tag or branch.
        commit: What that was.
        files: All that is needed of the repository.
    """

    repo_id: str
    revision: str
    commit: str
    files: tuple[WeightsFile, ...]

    def missing_in(self, folder: Path) -> list[WeightsFile]:
        """The files that a folder lacks, or holds at another size."""
        return [file for file in self.files if size_of(folder / file.path) != file.size]

    def write(self, folder: Path) -> None:
        """Write it into a folder in one step: it is there in full or not at all."""
        partial = folder / f"{_NAME}.partial"
        with partial.open("w", encoding="utf-8") as stream:
            json.dump({"format": _FORMAT, **asdict(self)}, stream, indent=2)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(folder / _NAME)

    @classmethod
    def read(cls, folder: Path) -> Manifest | None:
        """The manifest in a folder, or None if there is none that makes sense."""
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
    def read_if_whole(cls, folder: Path, repo_id: str, revision: str) -> Manifest | None:
        """The manifest in a folder that holds all of these weights, or None if it does not."""
        manifest = cls.read(folder)
        if manifest is None or manifest.repo_id != repo_id:
            return None
        if revision not in {manifest.revision, manifest.commit}:
            return None
        return None if manifest.missing_in(folder) else manifest

    @staticmethod
    def remove(folder: Path) -> None:
        """Take it away, before anything that it speaks of is changed."""
        (folder / _NAME).unlink(missing_ok=True)


def size_of(path: Path) -> int | None:
    """A file's size on the disk, in bytes, or None if there is no such file (any more)."""
    try:
        return path.stat().st_size if path.is_file() else None
    except OSError:
        return None
