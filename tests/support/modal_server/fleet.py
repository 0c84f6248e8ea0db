"""All containers of the server, and the calls they were started for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from modal_proto import api_pb2

from tests.support.modal_server.calls import Call, Status
from tests.support.modal_server.container import Container
from tests.support.modal_server.pool import Pool
from tests.support.modal_server.surroundings import environment, write_files

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.modal_server.faults import Faults
    from tests.support.modal_server.workspace import App, Function, Workspace


class Fleet:
    """Starts containers, knows them, and ends them.

    Attributes:
        calls: Every call that was accepted, by id.
        containers: Every container that was started, by task id; those that have ended too.
        server_url: Where containers reach the server; set once it listens.
    """

    def __init__(self, workspace: Workspace, folder: Path, faults: Faults) -> None:
        self.calls: dict[str, Call] = {}
        self.containers: dict[str, Container] = {}
        self.server_url = ""
        self._workspace = workspace
        self._folder = folder
        self._faults = faults
        self._pools: dict[str, Pool] = {}
        self._followed: set[asyncio.Task[None]] = set()

    def pool(self, function: Function) -> Pool:
        """The containers of a function."""
        if function.function_id not in self._pools:
            self._pools[function.function_id] = Pool(function, self._launch)
        return self._pools[function.function_id]

    def submit(self, call: Call) -> None:
        """Have a call done."""
        self.calls[call.call_id] = call
        self.pool(call.function).submit(call)

    async def stop_app(self, app: App) -> None:
        """End an app for good, with its calls and containers."""
        app.state = api_pb2.APP_STATE_STOPPED
        self._workspace.deployed.pop(app.name, None)
        pools = [pool for pool in self._pools.values() if pool.function.app is app]
        stopped = api_pb2.GenericResult(
            status=Status.GENERIC_STATUS_TERMINATED, exception="The app was stopped"
        )
        containers = [container for pool in pools for container in pool.containers]
        for pool in pools:
            pool.end_waiting(stopped)
        for container in containers:
            for call in container.running.values():
                call.finish(stopped)
            self.pool(container.function).retire(container)
            if container.running or not container.ready:
                container.kill()
        await asyncio.gather(*(container.end() for container in containers))
        app.end_log()

    async def close(self) -> None:
        """Kill every container, and start no more."""
        for app in self._workspace.apps.values():
            app.state = api_pb2.APP_STATE_STOPPED
        for pool in self._pools.values():
            for container in pool.containers:
                pool.retire(container)
                container.kill()
        await asyncio.gather(*self._followed)

    def _launch(self, pool: Pool) -> Container:
        function = pool.function
        container = Container(self._workspace.new_id("ta"), function)
        self.containers[container.task_id] = container
        code = write_files(self._workspace, function.definition, self._folder / "mounted")
        home = self._folder / "containers" / container.task_id
        home.mkdir(parents=True)
        arguments = home / "arguments"
        arguments.write_bytes(self._arguments(container).SerializeToString())
        variables = {
            **environment(self._workspace, function.definition, code, home),
            "MODAL_SERVER_URL": self.server_url,
            "MODAL_TASK_ID": container.task_id,
            "MODAL_CONTAINER_ARGUMENTS_PATH": str(arguments),
            # On Modal a container is known by the socket it uses; here it says who it is.
            "MODAL_OVERRIDE_HEADERS": f"x-task-id: {container.task_id}",
        }
        following = asyncio.get_running_loop().create_task(
            container.run(
                code, variables, self._faults.cold_start_seconds, lambda: pool.lost(container)
            )
        )
        self._followed.add(following)
        following.add_done_callback(self._followed.discard)
        return container

    def _arguments(self, container: Container) -> api_pb2.ContainerArguments:
        app = container.function.app
        layout = self._workspace.layout(app)
        layout.objects.extend(self._workspace.dependencies(container.definition))
        return api_pb2.ContainerArguments(
            task_id=container.task_id,
            function_id=container.function.function_id,
            app_id=app.app_id,
            function_def=container.definition,
            environment_name="main",
            app_layout=layout,
        )
