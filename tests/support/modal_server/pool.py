"""The containers of one function, and the calls that wait for a place in one."""

from __future__ import annotations

import asyncio
from collections import deque
from math import ceil
from typing import TYPE_CHECKING

from modal_proto import api_pb2

from tests.support.modal_server.bell import Bell
from tests.support.modal_server.calls import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.modal_server.calls import Call
    from tests.support.modal_server.container import Container
    from tests.support.modal_server.workspace import Function

MAX_CONTAINERS = 4
"""Where the function sets no limit: this is one machine."""

DEFAULT_SCALEDOWN_SECONDS = 60
FAILED_STARTS_BEFORE_GIVING_UP = 2
POLL_SECONDS = 10.0
"""A container that asks for an input is told after so long that there is none."""


class Pool:
    """Decides which container gets which call, and how many containers there are.

    Args:
        function: Whose pool it is.
        launch: Starts a container of the function.
    """

    def __init__(self, function: Function, launch: Callable[[Pool], Container]) -> None:
        self.function = function
        self.waiting: deque[Call] = deque()
        self.containers: list[Container] = []
        self._launch = launch
        self._changed = Bell()
        self._failed_starts = 0
        self._next_look: asyncio.TimerHandle | None = None

    def submit(self, call: Call) -> None:
        """Queue a call."""
        self.waiting.append(call)
        self.balance()

    async def next_input(self, container: Container) -> api_pb2.FunctionGetInputsResponse:
        """What a container with a free place shall do next: a call, nothing for now, or end."""
        self._failed_starts = 0
        if not container.ready:
            container.ready = True
            container.idle_since = asyncio.get_running_loop().time()
            self.balance()  # perhaps it isn't wanted any more
        await self._changed.until(lambda: container.retiring or self.waiting, POLL_SECONDS)
        if container.retiring:
            end = api_pb2.FunctionGetInputsItem(kill_switch=True)
            return api_pb2.FunctionGetInputsResponse(inputs=[end])
        if not self.waiting:
            return api_pb2.FunctionGetInputsResponse()
        call = self.waiting.popleft()
        container.running[call.input_id] = call
        if seconds := container.definition.timeout_secs:
            loop = asyncio.get_running_loop()
            loop.call_later(seconds, self._time_out, container, call, call.attempt)
        item = api_pb2.FunctionGetInputsItem(
            input_id=call.input_id,
            input=call.payload,
            function_call_id=call.call_id,
            function_call_invocation_type=call.invocation_type,  # type: ignore[arg-type]
            retry_count=call.attempt,
        )
        return api_pb2.FunctionGetInputsResponse(inputs=[item])

    def put_output(self, container: Container, item: api_pb2.FunctionPutOutputsItem) -> None:
        """A container is through with a call."""
        call = container.running.pop(item.input_id, None)
        if call is not None:
            call.finish(item.result, item.data_format)
        container.idle_since = asyncio.get_running_loop().time()
        self.balance()

    def cancel(self, call: Call, *, kill: bool = False) -> None:
        """End a call that waits; have the container end one that runs, or kill it."""
        call.cancelled = True
        if call in self.waiting:
            self.waiting.remove(call)
            call.end(Status.GENERIC_STATUS_TERMINATED, "cancelled")
        for container in self.containers:
            if call.input_id in container.running:
                container.cancellation.ring()
                if kill:
                    container.kill()

    def renew(self) -> None:
        """Let the containers there are finish what they do, and have new ones take what comes."""
        for container in self.containers:
            self.retire(container)
        self._failed_starts = 0
        self.balance()

    def retire(self, container: Container) -> None:
        """Give a container nothing more to do; it ends when it is through."""
        container.retiring = True
        self._changed.ring()

    def end_waiting(self, result: api_pb2.GenericResult) -> None:
        """Give every call that waits the same result."""
        while self.waiting:
            self.waiting.popleft().finish(result)

    def lost(self, container: Container) -> None:
        """A container has ended: its calls begin anew elsewhere, unless they shall fail."""
        self.containers.remove(container)
        for call in container.running.values():
            if call.cancelled:
                call.end(Status.GENERIC_STATUS_TERMINATED, "cancelled")
            elif container.calls_end_with_it:
                call.end(Status.GENERIC_STATUS_INTERNAL_FAILURE, "The container ended unexpectedly")
            elif call.output is None:
                call.attempt += 1
                self.waiting.appendleft(call)
        container.running.clear()
        if not container.ready and not container.retiring:
            self._start_failed(container)
        self.balance()

    def balance(self) -> None:
        """Start containers, or let idle ones go, as the calls there are and the settings demand."""
        settings = self.function.settings
        live = [container for container in self.containers if not container.retiring]
        most = 0 if self.function.app.stopped else settings.max_containers or MAX_CONTAINERS
        least = 0 if self._failed_starts else min(settings.min_containers, most)
        slots = max(1, self.function.definition.max_concurrent_inputs)
        free = sum(container.takes - len(container.running) for container in live)
        needed = ceil(max(0, len(self.waiting) - free) / slots)
        for _ in range(min(max(needed, least - len(live)), most - len(live))):
            self.containers.append(self._launch(self))
        self._let_idle_go(live, least)
        self._changed.ring()

    def _let_idle_go(self, live: list[Container], least: int) -> None:
        loop = asyncio.get_running_loop()
        window = self.function.settings.scaledown_window or DEFAULT_SCALEDOWN_SECONDS
        idle = [container for container in live if container.ready and not container.running]
        idle.sort(key=lambda container: container.idle_since)
        spare = idle[: max(0, len(live) - least)]
        for container in spare:
            if container.idle_since + window <= loop.time():
                self.retire(container)
        if self._next_look is not None:
            self._next_look.cancel()
        ends = [container.idle_since + window for container in spare if not container.retiring]
        self._next_look = loop.call_at(min(ends), self.balance) if ends else None

    def _start_failed(self, container: Container) -> None:
        self._failed_starts += 1
        if container.failure is not None:
            self.end_waiting(container.failure)
        elif self._failed_starts >= FAILED_STARTS_BEFORE_GIVING_UP:
            self.end_waiting(
                api_pb2.GenericResult(
                    status=Status.GENERIC_STATUS_INTERNAL_FAILURE,
                    exception="The container ended before it was ready:\n" + container.log_tail,
                )
            )

    def _time_out(self, container: Container, call: Call, attempt: int) -> None:
        if container.running.get(call.input_id) is not call or call.attempt != attempt:
            return
        seconds = container.definition.timeout_secs
        call.end(Status.GENERIC_STATUS_TIMEOUT, f"The function ran longer than {seconds} s")
        self.cancel(call)
