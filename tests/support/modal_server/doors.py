"""The two places where requests come in: one for clients, one for containers.

On Modal containers talk to their machine, not to the front door, so they go on working while
clients find it closed or are refused.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from grpclib import GRPCError, Status
from grpclib.server import Server

from tests.support.modal_server.app_rpcs import AppRpcs
from tests.support.modal_server.call_rpcs import CallRpcs
from tests.support.modal_server.container_rpcs import ContainerRpcs
from tests.support.modal_server.object_rpcs import ObjectRpcs
from tests.support.modal_server.routing import Routes

if TYPE_CHECKING:
    from grpclib.protocol import H2Protocol

    from tests.support.modal_server.blobs import BlobStore
    from tests.support.modal_server.faults import Faults
    from tests.support.modal_server.fleet import Fleet
    from tests.support.modal_server.routing import Desk, Metadata
    from tests.support.modal_server.workspace import Workspace

HOST = "127.0.0.1"


class _CuttableServer(Server):
    """A gRPC server that can hang up; grpclib's own keeps connections open after it was closed."""

    def __init__(self, routes: Routes) -> None:
        super().__init__([routes])
        self._connected: list[H2Protocol] = []

    def _protocol_factory(self) -> H2Protocol:
        protocol = super()._protocol_factory()
        self._connected.append(protocol)
        return protocol

    def hang_up(self) -> None:
        """Close every connection."""
        for protocol in self._connected:
            if hasattr(protocol, "connection"):  # it has one once a client came
                protocol.connection.close()
        self._connected.clear()


class Door:
    """A gRPC server on a port that stays the same when it is closed and opened again."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes
        self._server: _CuttableServer | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """Where it listens, once it was opened."""
        return f"http://{HOST}:{self._port}"

    async def open(self) -> None:
        """Let requests in."""
        self._server = _CuttableServer(self._routes)
        listening = socket.create_server((HOST, self._port))
        self._port = listening.getsockname()[1]
        await self._server.start(sock=listening)

    async def close(self) -> None:
        """Refuse connections, and cut those there are."""
        if self._server is not None:
            self._server.close()
            self._server.hang_up()
            await self._server.wait_closed()
            self._server = None


def client_door(workspace: Workspace, fleet: Fleet, blobs: BlobStore, faults: Faults) -> Door:
    """The door for clients and the CLI."""

    def desk(answering: object) -> Desk:
        async def meet_faults(rpc: str, metadata: Metadata) -> object:
            token = metadata.get("x-modal-token-id"), metadata.get("x-modal-token-secret")
            await faults.meet(rpc, *token)
            return answering

        return meet_faults

    rooms = _rooms(workspace, fleet, blobs)
    return Door(Routes({type(room): desk(room) for room in rooms}))


def container_door(workspace: Workspace, fleet: Fleet, blobs: BlobStore) -> Door:
    """The door for containers, which are also clients of the app's other functions."""

    async def desk_of_the_container(_rpc: str, metadata: Metadata) -> object:
        container = fleet.containers.get(metadata.get("x-task-id", ""))
        if container is None:
            raise GRPCError(Status.UNAUTHENTICATED, "no such container")
        return ContainerRpcs(fleet, container)

    def desk(answering: object) -> Desk:
        async def answer(_rpc: str, _metadata: Metadata) -> object:
            return answering

        return answer

    desks = {type(room): desk(room) for room in _rooms(workspace, fleet, blobs)}
    return Door(Routes({ContainerRpcs: desk_of_the_container, **desks}))


def _rooms(workspace: Workspace, fleet: Fleet, blobs: BlobStore) -> tuple[object, ...]:
    """What answers clients and containers alike."""
    return (
        AppRpcs(workspace, fleet),
        CallRpcs(workspace, fleet),
        ObjectRpcs(workspace, blobs),
        blobs,
    )
