"""What a container finds around it: the mounted files and its environment variables."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from tests.support.modal_server.workspace import id_of_content

if TYPE_CHECKING:
    from modal_proto import api_pb2

    from tests.support.modal_server.workspace import Workspace

CODE_PATH = PurePosixPath("root")
"""Where Modal mounts an app's source, without the leading slash; containers start there."""

OF_THIS_MACHINE = ("PATH", "LD_LIBRARY_PATH", "TMPDIR", "LANG")
"""The variables without which no program runs here. A container gets no others of the machine's."""


def write_files(workspace: Workspace, definition: api_pb2.Function, folder: Path) -> Path:
    """Put the files that were mounted where a container finds them.

    Containers with the same mounts share the files, and what Python makes of them.

    Returns:
        The folder that stands for `/root`.
    """
    mount_ids = sorted(definition.mount_ids)
    root = folder / id_of_content("files", "".join(mount_ids).encode())
    code = root / CODE_PATH
    if not root.exists():
        code.mkdir(parents=True)
        for mount_id in mount_ids:
            for file in workspace.mounts[mount_id]:
                path = root / PurePosixPath(file.filename).relative_to("/")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(workspace.files[file.sha256_hex])
    return code


def environment(
    workspace: Workspace, definition: api_pb2.Function, code: Path, home: Path
) -> dict[str, str]:
    """The variables a container starts with: the image's, then the secrets', then Modal's own."""
    variables = dict(workspace.images[definition.image_id].environment)
    for secret_id in definition.secret_ids:
        variables |= workspace.secrets[secret_id]
    for mount in definition.volume_mounts:
        folder = workspace.volumes[mount.volume_id].folder
        for name, value in variables.items():
            variables[name] = _moved(value, mount.mount_path, folder)
    machine = {name: os.environ[name] for name in OF_THIS_MACHINE if name in os.environ}
    return {
        **machine,
        **variables,
        "HOME": str(home),
        "PYTHONPATH": str(code),
        "PYTHONUNBUFFERED": "1",
        "MODAL_IS_REMOTE": "1",
        "MODAL_ENVIRONMENT": "main",
        "MODAL_IMAGE_ID": definition.image_id,
    }


def _moved(value: str, mount_path: str, folder: Path) -> str:
    """A path in a volume, as the path in the folder that stands for the volume."""
    path = PurePosixPath(value)
    if not path.is_relative_to(mount_path):
        return value
    return str(folder / path.relative_to(mount_path))
