"""RPCs with which a client calls functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.empty_pb2 import Empty  # type: ignore[import-untyped]
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from tests.support.modal_server.calls import Call

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.modal_server.fleet import Fleet
    from tests.support.modal_server.workspace import Workspace

FOREVER = 24 * 3600.0


class CallRpcs:
    """Takes inputs, hands out outputs, and cancels."""

    def __init__(self, workspace: Workspace, fleet: Fleet) -> None:
        self._workspace = workspace
        self._fleet = fleet

    async def function_map(
        self, request: api_pb2.FunctionMapRequest
    ) -> api_pb2.FunctionMapResponse:
        """Accept a call with its one input."""
        (item,) = request.pipelined_inputs
        call = Call(
            call_id=self._workspace.new_id("fc"),
            input_id=self._workspace.new_id("in"),
            function=self._workspace.function(request.function_id),
            payload=item.input,
            invocation_type=request.function_call_invocation_type,
        )
        self._fleet.submit(call)
        return api_pb2.FunctionMapResponse(
            function_call_id=call.call_id,
            pipelined_inputs=[
                api_pb2.FunctionPutInputsResponseItem(
                    input_id=call.input_id, input_jwt=call.input_id
                )
            ],
        )

    async def function_get_outputs(
        self, request: api_pb2.FunctionGetOutputsRequest
    ) -> api_pb2.FunctionGetOutputsResponse:
        """The call's output, or none if it has not ended in `timeout` seconds."""
        call = self._call(request.function_call_id)
        output = await call.changed.until(lambda: call.output, request.timeout)
        return api_pb2.FunctionGetOutputsResponse(
            outputs=[output] if output else [], num_unfinished_inputs=0 if output else 1
        )

    async def function_call_get_data_out(
        self, request: api_pb2.FunctionCallGetDataRequest
    ) -> AsyncIterator[api_pb2.DataChunk]:
        """What a generator yields; the client hangs up when it has the call's output too."""
        call = self._call(request.function_call_id)
        sent = 0

        def news() -> bool:
            return len(call.chunks) > sent

        while await call.changed.until(news, FOREVER):
            for chunk in call.chunks[sent:]:
                sent += 1
                if chunk.index > request.last_index:
                    yield chunk

    async def function_call_cancel(self, request: api_pb2.FunctionCallCancelRequest) -> Empty:
        """Cancel a call that has not ended."""
        call = self._call(request.function_call_id)
        if call.output is None:
            self._fleet.pool(call.function).cancel(call, kill=request.terminate_containers)
        return Empty()

    async def function_call_from_id(
        self, request: api_pb2.FunctionCallFromIdRequest
    ) -> api_pb2.FunctionCallFromIdResponse:
        call = self._call(request.function_call_id)
        return api_pb2.FunctionCallFromIdResponse(function_call_id=call.call_id, num_inputs=1)

    async def function_get_current_stats(
        self, request: api_pb2.FunctionGetCurrentStatsRequest
    ) -> api_pb2.FunctionStats:
        pool = self._fleet.pool(self._workspace.function(request.function_id))
        running = sum(len(container.running) for container in pool.containers)
        return api_pb2.FunctionStats(
            backlog=len(pool.waiting),
            num_total_tasks=len(pool.containers),
            num_running_inputs=running,
        )

    async def function_update_scheduling_params(
        self, request: api_pb2.FunctionUpdateSchedulingParamsRequest
    ) -> api_pb2.FunctionUpdateSchedulingParamsResponse:
        """Override the autoscaler's settings until the next deployment."""
        function = self._workspace.function(request.function_id)
        function.settings.MergeFrom(request.settings)
        self._fleet.pool(function).balance()
        return api_pb2.FunctionUpdateSchedulingParamsResponse(current_settings=function.settings)

    async def function_get_scheduling_params(
        self, request: api_pb2.FunctionGetSchedulingParamsRequest
    ) -> api_pb2.FunctionGetSchedulingParamsResponse:
        function = self._workspace.function(request.function_id)
        return api_pb2.FunctionGetSchedulingParamsResponse(
            autoscaler_configuration=api_pb2.AutoscalerConfiguration(settings=function.settings)
        )

    def _call(self, call_id: str) -> Call:
        if call_id not in self._fleet.calls:
            raise GRPCError(Status.NOT_FOUND, f"No such function call: {call_id}")
        return self._fleet.calls[call_id]
