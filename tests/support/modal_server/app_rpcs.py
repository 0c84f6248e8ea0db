"""RPCs with which an app is put up, looked up and taken down."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from google.protobuf.empty_pb2 import Empty  # type: ignore[import-untyped]
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from tests.support.modal_server.workspace import App, Function

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.modal_server.fleet import Fleet
    from tests.support.modal_server.workspace import Workspace


class AppRpcs:
    """Answers `modal deploy`, `modal run`, and clients that look something up by name."""

    def __init__(self, workspace: Workspace, fleet: Fleet) -> None:
        self._workspace = workspace
        self._fleet = fleet

    async def client_hello(self, _request: Empty) -> api_pb2.ClientHelloResponse:
        return api_pb2.ClientHelloResponse()

    async def app_get_by_deployment_name(
        self, request: api_pb2.AppGetByDeploymentNameRequest
    ) -> api_pb2.AppGetByDeploymentNameResponse:
        app = self._workspace.deployed.get(request.name)
        return api_pb2.AppGetByDeploymentNameResponse(app_id=app.app_id if app else "")

    async def app_create(self, request: api_pb2.AppCreateRequest) -> api_pb2.AppCreateResponse:
        app = App(self._workspace.new_id("ap"), request.description, request.app_state)
        self._workspace.apps[app.app_id] = app
        return api_pb2.AppCreateResponse(
            app_id=app.app_id, app_page_url=f"http://127.0.0.1/{app.app_id}"
        )

    async def app_get_layout(
        self, request: api_pb2.AppGetLayoutRequest
    ) -> api_pb2.AppGetLayoutResponse:
        app = self._workspace.app(request.app_id)
        return api_pb2.AppGetLayoutResponse(app_layout=self._workspace.layout(app))

    async def app_heartbeat(self, _request: api_pb2.AppHeartbeatRequest) -> Empty:
        return Empty()

    async def function_precreate(
        self, request: api_pb2.FunctionPrecreateRequest
    ) -> api_pb2.FunctionPrecreateResponse:
        """Give a function its id, which it keeps when it is deployed again."""
        function = self._workspace.functions.get(request.existing_function_id)
        if function is None:
            function = Function(
                function_id=self._workspace.new_id("fu"),
                app=self._workspace.app(request.app_id),
                handle=api_pb2.FunctionHandleMetadata(),
            )
            self._workspace.functions[function.function_id] = function
        function.handle = api_pb2.FunctionHandleMetadata(
            function_name=request.function_name,
            function_type=request.function_type,
            function_schema=request.function_schema,
            supported_input_formats=request.supported_input_formats,
            supported_output_formats=request.supported_output_formats,
            method_handle_metadata=_methods(request.method_definitions),
            app_id=request.app_id,
        )
        return api_pb2.FunctionPrecreateResponse(
            function_id=function.function_id, handle_metadata=function.handle
        )

    async def function_create(
        self, request: api_pb2.FunctionCreateRequest
    ) -> api_pb2.FunctionCreateResponse:
        """Define a function; with a list of GPUs there is a definition for each, the first wins."""
        function = self._workspace.function(request.existing_function_id)
        if request.HasField("function_data"):
            data = request.function_data
        else:
            ranked = api_pb2.FunctionData.RankedFunction(rank=0, function=request.function)
            data = api_pb2.FunctionData(ranked_functions=[ranked])
        function.next_definition = data.ranked_functions[0].function
        function.handle.class_parameter_info.CopyFrom(function.next_definition.class_parameter_info)
        function.handle.definition_id = self._workspace.new_id("de")
        return api_pb2.FunctionCreateResponse(
            function_id=function.function_id, handle_metadata=function.handle, function_data=data
        )

    async def class_create(
        self, request: api_pb2.ClassCreateRequest
    ) -> api_pb2.ClassCreateResponse:
        return api_pb2.ClassCreateResponse(
            class_id=request.existing_class_id or self._workspace.new_id("cs"),
            handle_metadata=api_pb2.ClassHandleMetadata(),
        )

    async def app_publish(self, request: api_pb2.AppPublishRequest) -> api_pb2.AppPublishResponse:
        """Let the app's functions be called as they were defined last."""
        app = self._workspace.app(request.app_id)
        app.function_ids = dict(request.function_ids)
        app.class_ids = dict(request.class_ids)
        app.state = request.app_state
        if app.state == api_pb2.APP_STATE_DEPLOYED:
            self._workspace.deployed[request.name] = app
        for function_id in app.function_ids.values():
            function = self._workspace.function(function_id)
            function.publish()
            self._fleet.pool(function).renew()
        return api_pb2.AppPublishResponse(
            url=f"http://127.0.0.1/{app.app_id}", deployed_at=time.time()
        )

    async def app_client_disconnect(self, request: api_pb2.AppClientDisconnectRequest) -> Empty:
        """End an app that runs only as long as its client."""
        app = self._workspace.apps[request.app_id]
        if app.state == api_pb2.APP_STATE_EPHEMERAL:
            await self._fleet.stop_app(app)
        return Empty()

    async def app_stop(self, request: api_pb2.AppStopRequest) -> Empty:
        await self._fleet.stop_app(self._workspace.app(request.app_id))
        return Empty()

    async def app_get_logs(
        self, request: api_pb2.AppGetLogsRequest
    ) -> AsyncIterator[api_pb2.TaskLogsBatch]:
        """What the app's containers wrote, and that there is no more once it is over."""
        app = self._workspace.apps[request.app_id]
        sent = int(request.last_entry_id or 0)

        def news() -> bool:
            return len(app.logs) > sent or app.log_ended

        while await app.changed.until(news, request.timeout):
            for batch in app.logs[sent:]:
                yield batch
                sent += 1
            if app.log_ended:
                yield api_pb2.TaskLogsBatch(app_done=True)
                return

    async def class_get(self, request: api_pb2.ClassGetRequest) -> api_pb2.ClassGetResponse:
        app = self._workspace.app_named(request.app_name)
        if request.object_tag not in app.class_ids:
            raise GRPCError(Status.NOT_FOUND, f"Class '{request.object_tag}' not found")
        return api_pb2.ClassGetResponse(
            class_id=app.class_ids[request.object_tag],
            handle_metadata=api_pb2.ClassHandleMetadata(),
        )

    async def function_get(
        self, request: api_pb2.FunctionGetRequest
    ) -> api_pb2.FunctionGetResponse:
        app = self._workspace.app_named(request.app_name)
        if request.object_tag not in app.function_ids:
            raise GRPCError(Status.NOT_FOUND, f"Function '{request.object_tag}' not found")
        function = self._workspace.function(app.function_ids[request.object_tag])
        ranked = api_pb2.FunctionData.RankedFunction(rank=0, function=function.definition)
        return api_pb2.FunctionGetResponse(
            function_id=function.function_id,
            handle_metadata=function.handle,
            function=api_pb2.FunctionData(ranked_functions=[ranked]),
        )


def _methods(
    definitions: api_pb2.FunctionPrecreateRequest.MethodDefinitionsEntry,
) -> dict[str, api_pb2.FunctionHandleMetadata]:
    """What clients are told of a class's methods."""
    return {
        name: api_pb2.FunctionHandleMetadata(
            function_name=definition.function_name,
            function_type=definition.function_type,
            function_schema=definition.function_schema,
            supported_input_formats=definition.supported_input_formats,
            supported_output_formats=definition.supported_output_formats,
            is_method=True,
            use_method_name=name,
        )
        for name, definition in definitions.items()
    }
