"""Where a deployment's weights lie on its volume.

Does not load the hub's client, which reads its own settings when it is imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from backend.weights.checkpoints import PUBLISHED
from backend.weights.manifest import Manifest

if TYPE_CHECKING:
    from pathlib import Path

    from backend.settings import DeploySettings

_LATEST = "main"


def is_published(model_id: str) -> bool:
    """Whether a model's weights come from the hub, not from a folder of the operator's."""
    return any(checkpoint.model_id == model_id for checkpoint in PUBLISHED)


def revision_of(repo_id: str) -> str:
    """Say which revision is downloaded: a speech model's pinned commit, a transcriber's latest.

    The manifest beside a transcriber pins the commit that it was then.
    """
    pinned = {checkpoint.model_id: checkpoint.revision for checkpoint in PUBLISHED}
    return pinned.get(repo_id) or _LATEST


def folder_of(repo_id: str, volume: Path) -> Path:
    """Name the folder for a repository of the hub."""
    return volume / repo_id.replace("/", "--")


def from_hub(settings: DeploySettings) -> list[str]:
    """List the repositories that a deployment's weights come from, the speech model's first."""
    repos = [settings.model_id] if is_published(settings.model_id) else []
    if settings.transcriber is not None and not settings.transcriber.startswith("/"):
        repos.append(settings.transcriber)
    return repos


def all_are_whole(settings: DeploySettings, volume: Path) -> bool:
    """Whether nothing has to be asked of the hub."""
    return all(
        Manifest.read_if_whole(folder_of(repo, volume), repo, revision_of(repo)) is not None
        for repo in from_hub(settings)
    )
