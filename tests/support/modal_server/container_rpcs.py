"""RPCs of a container: what it asks for and what it reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.empty_pb2 import Empty  # type: ignore[import-untyped]
from modal_proto import api_pb2

if TYPE_CHECKING:
    from tests.support.modal_server.container import Container
    from tests.support.modal_server.fleet import Fleet

HEARTBEAT_SECONDS = 14.0
"""How long a heartbeat is kept waiting for a cancellation; the client gives up after 15.1 s."""


class ContainerRpcs:
    """Answers one container."""

    def __init__(self, fleet: Fleet, container: Container) -> None:
        self._fleet = fleet
        self._container = container
        self._pool = fleet.pool(container.function)

    async def container_hello(self, _request: Empty) -> Empty:
        return Empty()

    async def container_heartbeat(
        self, _request: api_pb2.ContainerHeartbeatRequest
    ) -> api_pb2.ContainerHeartbeatResponse:
        """Say which inputs to cancel, again and again until the container is through with them.

        It does not heed what it is told about an input it has not begun yet.
        """
        running = self._container.running

        def cancelled() -> list[str]:
            return [input_id for input_id, call in running.items() if call.cancelled]

        input_ids = await self._container.cancellation.until(cancelled, HEARTBEAT_SECONDS)
        if not input_ids:
            return api_pb2.ContainerHeartbeatResponse()
        return api_pb2.ContainerHeartbeatResponse(
            cancel_input_event=api_pb2.CancelInputEvent(input_ids=input_ids)
        )

    async def function_get_inputs(
        self, request: api_pb2.FunctionGetInputsRequest
    ) -> api_pb2.FunctionGetInputsResponse:
        self._container.takes = max(1, request.input_concurrency)
        return await self._pool.next_input(self._container)

    async def function_get_dynamic_concurrency(
        self, request: api_pb2.FunctionGetDynamicConcurrencyRequest
    ) -> api_pb2.FunctionGetDynamicConcurrencyResponse:
        return api_pb2.FunctionGetDynamicConcurrencyResponse(concurrency=request.max_concurrency)

    async def function_put_outputs(self, request: api_pb2.FunctionPutOutputsRequest) -> Empty:
        for item in request.outputs:
            self._pool.put_output(self._container, item)
        return Empty()

    async def function_call_put_data_out(
        self, request: api_pb2.FunctionCallPutDataRequest
    ) -> Empty:
        self._fleet.calls[request.function_call_id].add_chunks(list(request.data_chunks))
        return Empty()

    async def container_stop(
        self, request: api_pb2.ContainerStopRequest
    ) -> api_pb2.ContainerStopResponse:
        """Give a container nothing more to do; it may ask for that itself."""
        container = self._fleet.containers[request.task_id]
        self._fleet.pool(container.function).retire(container)
        self._pool.balance()
        return api_pb2.ContainerStopResponse()

    async def task_result(self, request: api_pb2.TaskResultRequest) -> Empty:
        """The container could not set itself up."""
        self._container.failure = request.result
        return Empty()
