"""What a workspace holds: apps and their functions, images, mounts, volumes and secrets."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from grpclib import GRPCError, Status
from modal_proto import api_pb2

from tests.support.modal_server.bell import Bell

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(eq=False)
class Function:
    """A function of an app, or the service function of a class, under which its methods are called.

    Attributes:
        handle: What clients are told of it.
        definition: How to run it, as of the last time its app was published.
        next_definition: How to run it once its app is published again.
        settings: The autoscaler's, as defined or since changed by a client.
    """

    function_id: str
    app: App
    handle: api_pb2.FunctionHandleMetadata
    definition: api_pb2.Function = field(default_factory=api_pb2.Function)
    next_definition: api_pb2.Function = field(default_factory=api_pb2.Function)
    settings: api_pb2.AutoscalerSettings = field(default_factory=api_pb2.AutoscalerSettings)

    def publish(self) -> None:
        """Let the next containers run what was defined last; overridden settings are undone."""
        self.definition = self.next_definition
        self.settings = api_pb2.AutoscalerSettings()
        self.settings.CopyFrom(self.definition.autoscaler_settings)


@dataclass(eq=False)
class App:
    """An app, deployed or running for as long as one `modal run`."""

    app_id: str
    name: str
    state: int
    function_ids: dict[str, str] = field(default_factory=dict)
    class_ids: dict[str, str] = field(default_factory=dict)
    logs: list[api_pb2.TaskLogsBatch] = field(default_factory=list)
    log_ended: bool = False
    changed: Bell = field(default_factory=Bell)

    @property
    def stopped(self) -> bool:
        """Whether it is over for good."""
        return self.state == api_pb2.APP_STATE_STOPPED

    def log(self, batch: api_pb2.TaskLogsBatch) -> None:
        """Add what a container wrote, for whoever follows the app's logs."""
        batch.entry_id = str(len(self.logs) + 1)
        self.logs.append(batch)
        self.changed.ring()

    def end_log(self) -> None:
        """Tell whoever follows the logs that there is no more."""
        self.log_ended = True
        self.changed.ring()


@dataclass(frozen=True)
class Image:
    """An image, as far as it matters to a container on this machine."""

    environment: dict[str, str]


@dataclass(frozen=True)
class Volume:
    """A volume: a folder."""

    volume_id: str
    folder: Path


@dataclass
class Workspace:
    """Everything that was ever made, by id, and what bears a name.

    Attributes:
        folder: Where volumes lie.
        deployed: Apps by the name they are deployed under.
        secrets: Environment variables by the secret's id; `secret_ids` knows those with names.
    """

    folder: Path
    apps: dict[str, App] = field(default_factory=dict)
    deployed: dict[str, App] = field(default_factory=dict)
    functions: dict[str, Function] = field(default_factory=dict)
    images: dict[str, Image] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    mounts: dict[str, list[api_pb2.MountFile]] = field(default_factory=dict)
    volumes: dict[str, Volume] = field(default_factory=dict)
    secrets: dict[str, dict[str, str]] = field(default_factory=dict)
    secret_ids: dict[str, str] = field(default_factory=dict)
    _numbers: count[int] = field(default_factory=lambda: count(1))

    def new_id(self, prefix: str) -> str:
        """An id that was not given out before; the prefix is how the client tells kinds apart."""
        return f"{prefix}-{next(self._numbers):06}"

    def app(self, app_id: str) -> App:
        """An app that was not stopped."""
        app = self.apps.get(app_id)
        if app is None or app.stopped:
            raise GRPCError(Status.NOT_FOUND, f"No such app: {app_id}")
        return app

    def app_named(self, name: str) -> App:
        """A deployed app."""
        if name not in self.deployed:
            raise GRPCError(Status.NOT_FOUND, f"App '{name}' not found in environment 'main'")
        return self.deployed[name]

    def function(self, function_id: str) -> Function:
        """A function whose app was not stopped."""
        function = self.functions.get(function_id)
        if function is None or function.app.stopped:
            raise GRPCError(Status.NOT_FOUND, f"Function {function_id} has been deleted")
        return function

    def volume_named(self, name: str) -> Volume:
        """A volume, which is made if it is not there."""
        volume_id = f"vo-{name}"
        if volume_id not in self.volumes:
            volume = Volume(volume_id, self.folder / "volumes" / name)
            volume.folder.mkdir(parents=True)
            self.volumes[volume_id] = volume
        return self.volumes[volume_id]

    def keep_secret(self, name: str, variables: dict[str, str]) -> None:
        """Make a secret under a name, as a person does on Modal's web page."""
        self.secret_ids[name] = self.new_id("st")
        self.secrets[self.secret_ids[name]] = variables

    def dependencies(self, definition: api_pb2.Function) -> list[api_pb2.Object]:
        """The objects that a function refers to, as its containers are told."""
        objects = [
            api_pb2.Object(object_id=dependency.object_id)
            for dependency in definition.object_dependencies
        ]
        for known in objects:
            if known.object_id in self.volumes:
                known.volume_metadata.name = self.volumes[known.object_id].folder.name
            elif known.object_id in self.mounts:
                known.mount_handle_metadata.content_checksum_sha256_hex = known.object_id
        return objects

    def layout(self, app: App) -> api_pb2.AppLayout:
        """What an app consists of, as its containers and the next deployment are told."""
        functions = [self.functions[function_id] for function_id in app.function_ids.values()]
        return api_pb2.AppLayout(
            objects=[
                *(
                    api_pb2.Object(
                        object_id=function.function_id, function_handle_metadata=function.handle
                    )
                    for function in functions
                ),
                *(
                    api_pb2.Object(
                        object_id=class_id, class_handle_metadata=api_pb2.ClassHandleMetadata()
                    )
                    for class_id in app.class_ids.values()
                ),
            ],
            function_ids=app.function_ids,
            class_ids=app.class_ids,
        )


def id_of_content(prefix: str, content: bytes) -> str:
    """The same id for the same content."""
    return f"{prefix}-{hashlib.sha256(content).hexdigest()[:22]}"
