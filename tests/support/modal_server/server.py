"""The server as tests use it."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

import modal
from modal_proto import api_pb2

from tests.support.modal_server.blobs import BlobStore
from tests.support.modal_server.command_line import Finished, run_modal
from tests.support.modal_server.doors import client_door, container_door
from tests.support.modal_server.faults import TOKEN_ID, TOKEN_SECRET, Faults
from tests.support.modal_server.fleet import Fleet
from tests.support.modal_server.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator, Mapping

    from tests.support.modal_server.calls import Call
    from tests.support.modal_server.container import Container

T = TypeVar("T")

REPOSITORY = Path(__file__).resolve().parents[3]


class ModalServer:
    """A running server. Its methods may be called from any thread, with or without an event loop.

    It has an event loop of its own in a thread of its own, so that it goes on answering whatever
    the test's loop does, and outlives it.

    Attributes:
        environment: What a process needs in its environment to take this for Modal.
        faults: What goes wrong; a test sets its fields.
    """

    def __init__(self, folder: Path, loop: asyncio.AbstractEventLoop) -> None:
        self.faults = Faults()
        self._folder = folder
        self._loop = loop
        self._workspace = Workspace(folder)
        self._blobs = BlobStore()
        self._fleet = Fleet(self._workspace, folder, self.faults)
        self._client_door = client_door(self._workspace, self._fleet, self._blobs, self.faults)
        self._container_door = container_door(self._workspace, self._fleet, self._blobs)

    @property
    def url(self) -> str:
        """What `MODAL_SERVER_URL` is set to."""
        return self._client_door.url

    @property
    def environment(self) -> dict[str, str]:
        return {
            "MODAL_SERVER_URL": self.url,
            "MODAL_TOKEN_ID": TOKEN_ID,
            "MODAL_TOKEN_SECRET": TOKEN_SECRET,
            "MODAL_CONFIG_PATH": str(self._folder / "modal.toml"),
        }

    def client(self) -> modal.Client:
        """A client in this process, to be entered with `async with` and handed to `from_name`."""
        credentials = (TOKEN_ID, TOKEN_SECRET)
        return modal.Client(self.url, api_pb2.CLIENT_TYPE_CLIENT, credentials)

    async def modal(
        self, *arguments: str, env: Mapping[str, str] | None = None, folder: Path = REPOSITORY
    ) -> Finished:
        """Run the stock command, such as `modal("run", "app.py::main")`, in a folder.

        Its environment holds nothing but what a program needs on this machine, `environment`, and
        `env`.
        """
        environment = {**self.environment, "HOME": str(self._folder), **(env or {})}
        return await asyncio.to_thread(run_modal, arguments, folder, environment)

    async def deploy(
        self, app_file: Path | str, *, env: Mapping[str, str] | None = None
    ) -> Finished:
        """Run `modal deploy` in the repository, which must succeed."""
        finished = await self.modal("deploy", str(app_file), env=env)
        if finished.exit_code:
            raise AssertionError(finished.output)
        return finished

    def stop_app(self, name: str) -> None:
        """Take a deployed app down, as `modal app stop` does."""

        async def stop() -> None:
            await self._fleet.stop_app(self._workspace.app_named(name))

        self._wait(stop())

    def keep_secret(self, name: str, **variables: str) -> None:
        """Have the workspace hold a secret."""
        self._workspace.keep_secret(name, variables)

    def volume(self, name: str) -> Path:
        """The folder that stands for a volume; the volume is made if it is not there."""
        return self._workspace.volume_named(name).folder

    @property
    def containers(self) -> list[Container]:
        """The containers that have not ended, oldest first."""
        everyone = list(self._fleet.containers.values())
        return [container for container in everyone if not container.ended.is_set()]

    @property
    def calls(self) -> list[Call]:
        """Every call that was accepted, oldest first."""
        return list(self._fleet.calls.values())

    @property
    def blobs_stored(self) -> int:
        """How many payloads went by way of the blob store."""
        return self._blobs.number

    def log(self) -> str:
        """Everything that containers wrote."""
        everyone = list(self._fleet.containers.values())
        return "".join(line for container in everyone for line in list(container.log))

    def kill_containers(self, *, calls: Literal["begin anew", "fail"] = "begin anew") -> None:
        """Kill every container, as a crash or a lost machine does.

        Args:
            calls: What becomes of the calls they worked on. Modal says that it gives them to
                another container; when it gives up, callers meet `InternalFailure`.
        """

        async def kill() -> None:
            for container in self.containers:
                container.calls_end_with_it = calls == "fail"
                container.kill()

        self._wait(kill())

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        """Within this, clients' connections are refused; containers do not notice."""
        self._wait(self._client_door.close())
        try:
            yield
        finally:
            self._wait(self._client_door.open())

    async def _open(self) -> None:
        await self._blobs.start()
        await self._container_door.open()
        self._fleet.server_url = self._container_door.url
        await self._client_door.open()

    async def _close(self) -> None:
        await self._fleet.close()
        await self._client_door.close()
        await self._container_door.close()
        await self._blobs.close()

    def _wait(self, work: Coroutine[None, None, T]) -> T:
        """Have the server's loop do something, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=60)


@contextmanager
def modal_server(folder: Path) -> Iterator[ModalServer]:
    """Run a server whose files lie in a folder; at the end its containers are killed."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="modal-server", daemon=True)
    thread.start()
    server = ModalServer(folder, loop)
    server._wait(server._open())
    try:
        yield server
    finally:
        server._wait(server._close())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
