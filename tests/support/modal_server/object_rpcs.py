"""RPCs for what functions are made of: images, mounts, volumes and secrets."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from google.protobuf.empty_pb2 import Empty  # type: ignore[import-untyped]
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from tests.support.modal_server.workspace import Image, id_of_content

if TYPE_CHECKING:
    from tests.support.modal_server.blobs import BlobStore
    from tests.support.modal_server.workspace import Workspace

IMAGE_BUILDER_VERSION = "2025.06"


class ObjectRpcs:
    """Answers about images, mounts, volumes and secrets."""

    def __init__(self, workspace: Workspace, blobs: BlobStore) -> None:
        self._workspace = workspace
        self._blobs = blobs

    async def environment_get_or_create(
        self, _request: api_pb2.EnvironmentGetOrCreateRequest
    ) -> api_pb2.EnvironmentGetOrCreateResponse:
        return api_pb2.EnvironmentGetOrCreateResponse(
            environment_id="en-main",
            metadata=api_pb2.EnvironmentMetadata(
                name="main",
                settings=api_pb2.EnvironmentSettings(image_builder_version=IMAGE_BUILDER_VERSION),
            ),
        )

    async def image_get_or_create(
        self, request: api_pb2.ImageGetOrCreateRequest
    ) -> api_pb2.ImageGetOrCreateResponse:
        """Count the image as built, and remember which variables it sets."""
        image_id = id_of_content("im", request.image.SerializeToString(deterministic=True))
        environment: dict[str, str] = {}
        for base in request.image.base_images:
            environment |= self._workspace.images[base.image_id].environment
        for command in request.image.dockerfile_commands:
            environment |= _variables(command)
        self._workspace.images[image_id] = Image(environment)
        return api_pb2.ImageGetOrCreateResponse(
            image_id=image_id,
            result=api_pb2.GenericResult(status=api_pb2.GenericResult.GENERIC_STATUS_SUCCESS),
            metadata=api_pb2.ImageMetadata(image_builder_version=IMAGE_BUILDER_VERSION),
        )

    async def mount_batched_check_existence(
        self, request: api_pb2.MountBatchedCheckExistenceRequest
    ) -> api_pb2.MountBatchedCheckExistenceResponse:
        missing = [sha for sha in request.sha256_hex_hashes if sha not in self._workspace.files]
        return api_pb2.MountBatchedCheckExistenceResponse(missing_sha256_hex_hashes=missing)

    async def mount_put_file(
        self, request: api_pb2.MountPutFileRequest
    ) -> api_pb2.MountPutFileResponse:
        if request.WhichOneof("data_oneof") == "data_blob_id":
            content = self._blobs.read(request.data_blob_id)
        else:
            content = request.data
        self._workspace.files[request.sha256_hex] = content
        return api_pb2.MountPutFileResponse(exists=True)

    async def mount_get_or_create(
        self, request: api_pb2.MountGetOrCreateRequest
    ) -> api_pb2.MountGetOrCreateResponse:
        files = sorted(request.files, key=lambda file: file.filename)
        content = b"".join(file.SerializeToString(deterministic=True) for file in files)
        mount_id = id_of_content("mo", content)
        self._workspace.mounts[mount_id] = files
        return api_pb2.MountGetOrCreateResponse(
            mount_id=mount_id,
            handle_metadata=api_pb2.MountHandleMetadata(content_checksum_sha256_hex=mount_id),
        )

    async def volume_get_or_create(
        self, request: api_pb2.VolumeGetOrCreateRequest
    ) -> api_pb2.VolumeGetOrCreateResponse:
        name = request.deployment_name
        creates = request.object_creation_type == api_pb2.OBJECT_CREATION_TYPE_CREATE_IF_MISSING
        if not creates and f"vo-{name}" not in self._workspace.volumes:
            raise GRPCError(Status.NOT_FOUND, f"Volume '{name}' not found in environment 'main'")
        return api_pb2.VolumeGetOrCreateResponse(
            volume_id=self._workspace.volume_named(name).volume_id,
            metadata=api_pb2.VolumeMetadata(name=name),
        )

    async def volume_commit(
        self, _request: api_pb2.VolumeCommitRequest
    ) -> api_pb2.VolumeCommitResponse:
        return api_pb2.VolumeCommitResponse(skip_reload=True)

    async def volume_reload(self, _request: api_pb2.VolumeReloadRequest) -> Empty:
        return Empty()

    async def secret_get_or_create(
        self, request: api_pb2.SecretGetOrCreateRequest
    ) -> api_pb2.SecretGetOrCreateResponse:
        """Find a secret by name, or keep one made from a dict."""
        if not request.deployment_name:
            secret_id = self._workspace.new_id("st")
            self._workspace.secrets[secret_id] = dict(request.env_dict)
            return api_pb2.SecretGetOrCreateResponse(secret_id=secret_id)
        name = request.deployment_name
        if name not in self._workspace.secret_ids:
            raise GRPCError(Status.NOT_FOUND, f"Secret '{name}' not found in environment 'main'")
        return api_pb2.SecretGetOrCreateResponse(
            secret_id=self._workspace.secret_ids[name],
            metadata=api_pb2.SecretMetadata(name=name),
        )


def _variables(dockerfile_command: str) -> dict[str, str]:
    """The environment variables that a line of a Dockerfile sets."""
    instruction, _, rest = dockerfile_command.strip().partition(" ")
    if instruction != "ENV":
        return {}
    pairs = (assignment.partition("=") for assignment in shlex.split(rest))
    return {name: value for name, _, value in pairs}
