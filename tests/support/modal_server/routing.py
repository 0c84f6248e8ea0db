"""From Modal's RPCs to the methods that answer them."""

from __future__ import annotations

import re
from inspect import isasyncgenfunction
from typing import TYPE_CHECKING, Any, TypeAlias

from grpclib import GRPCError, Status
from modal_proto.api_grpc import ModalClientBase

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from grpclib.const import Handler

Metadata: TypeAlias = "Mapping[str, str]"
Desk: TypeAlias = "Callable[[str, Metadata], Awaitable[object]]"
"""Told an RPC's name and metadata, returns the object that answers it. It may take its time, or
raise `GRPCError`."""


class _EveryRpc:
    """Stands in for an implementation of all of `ModalClientBase`."""

    def __getattr__(self, name: str) -> str:
        return name


class Routes:
    """The RPCs that some classes answer, for `grpclib.server.Server`.

    `FunctionMap` is answered by a method `function_map(request)`: a coroutine function, or an async
    generator function if the RPC streams. RPCs that nobody answers are refused by name.

    Args:
        desks: For each class that answers RPCs, how to reach the object that does.
    """

    def __init__(self, desks: Mapping[type, Desk]) -> None:
        self._desks = desks

    def __mapping__(self) -> dict[str, Handler]:
        unbound: Any = ModalClientBase
        rpcs: dict[str, Handler] = unbound.__mapping__(_EveryRpc())
        return {path: rpc._replace(func=self._answer(str(rpc.func))) for path, rpc in rpcs.items()}

    def _answer(self, rpc: str) -> Callable[[Any], Awaitable[None]]:
        method = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", rpc).lower()
        for kind, desk in self._desks.items():
            if hasattr(kind, method):
                streams = isasyncgenfunction(getattr(kind, method))
                return _streamed(rpc, method, desk) if streams else _single(rpc, method, desk)
        return _refused(rpc)


def _single(rpc: str, method: str, desk: Desk) -> Callable[[Any], Awaitable[None]]:
    async def answer(stream: Any) -> None:
        request = await stream.recv_message()
        answering = await desk(rpc, stream.metadata)
        await stream.send_message(await getattr(answering, method)(request))

    return answer


def _streamed(rpc: str, method: str, desk: Desk) -> Callable[[Any], Awaitable[None]]:
    async def answer(stream: Any) -> None:
        request = await stream.recv_message()
        answering = await desk(rpc, stream.metadata)
        async for message in getattr(answering, method)(request):
            await stream.send_message(message)

    return answer


def _refused(rpc: str) -> Callable[[Any], Awaitable[None]]:
    async def answer(_stream: Any) -> None:
        raise GRPCError(Status.UNIMPLEMENTED, f"the loopback server does not answer {rpc}")

    return answer
