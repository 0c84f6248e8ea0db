"""Where a deployment's weights lie on its volume.

Does not load the hub's client, which reads its own settings when it is imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from backend.models import PUBLISHED
from backend.weights_manifest import Manifest

if TYPE_CHECKING:
    from pathlib import Path

    from backend.deploy_settings import DeploySettings

REVISION = "main"
"""What is downloaded. The manifest beside the weights pins the commit that it was then."""


def is_published(model_id: str) -> bool:
    """Whether a model's weights come from the hub, not from a folder of the operator's."""
    return any(checkpoint.model_id == model_id for checkpoint in PUBLISHED)


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
    manifests = {
        folder: Manifest.read(folder)
        for folder in (folder_of(repo, volume) for repo in from_hub(settings))
    }
    return all(
        manifest is not None and not manifest.missing_in(folder)
        for folder, manifest in manifests.items()
    )
