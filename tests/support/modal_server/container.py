"""One container: a subprocess of this machine that runs Modal's own container entrypoint."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from modal_proto import api_pb2

from tests.support.modal_server.bell import Bell

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.modal_server.calls import Call
    from tests.support.modal_server.workspace import Function

SECONDS_TO_END = 10.0
"""A container that was told to end and has nothing to do is killed after so long."""

UNTIL_NOBODY_LISTENS = '("$@"; kill -9 0) & read -r _; kill -9 0'
"""A shell's script: runs a command until its end, or until the shell's standard input ends.

A test run that is killed cannot end its containers, but its pipes close.
"""


class Container:
    """A container, and what it is doing.

    Attributes:
        definition: What it runs, as it was when it started.
        takes: How many inputs it takes at once, as it says itself when it asks for one.
        running: The calls it works on, by input id.
        ready: It has asked for its first input.
        retiring: It gets no more inputs.
        failure: What it reported when the class could not be set up.
        calls_end_with_it: If it dies, its calls fail instead of beginning anew elsewhere.
        cancellation: Rung when one of its calls was cancelled.
        log: Every line it wrote.
    """

    def __init__(self, task_id: str, function: Function) -> None:
        self.task_id = task_id
        self.function = function
        self.definition = function.definition
        self.takes = max(1, self.definition.max_concurrent_inputs)
        self.running: dict[str, Call] = {}
        self.ready = False
        self.retiring = False
        self.failure: api_pb2.GenericResult | None = None
        self.calls_end_with_it = False
        self.idle_since = asyncio.get_running_loop().time()
        self.cancellation = Bell()
        self.log: list[str] = []
        self.ended = asyncio.Event()
        self._killed = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """Its process and the group of those below it, once there is one."""
        return self._process.pid if self._process is not None else None

    @property
    def log_tail(self) -> str:
        """The last lines it wrote."""
        return "".join(self.log[-30:])

    async def run(
        self, folder: Path, environment: dict[str, str], delay: float, on_end: Callable[[], None]
    ) -> None:
        """Start it after `delay` seconds, and follow it until it has ended."""
        try:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._killed.wait(), delay)
            if not self._killed.is_set() and not self.retiring:
                await self._run_process(folder, environment)
        finally:
            self.ended.set()
            on_end()

    def kill(self) -> None:
        """End it and its children at once."""
        self._killed.set()
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def end(self) -> None:
        """Wait until it has ended by itself, which it was told to; kill it if it takes long."""
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.ended.wait(), SECONDS_TO_END)
        self.kill()
        await self.ended.wait()

    async def _run_process(self, folder: Path, environment: dict[str, str]) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *("sh", "-c", UNTIL_NOBODY_LISTENS, "sh"),
            *(sys.executable, "-m", "modal._container_entrypoint"),
            cwd=folder,
            env=environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            if self._killed.is_set():  # while it was being started
                self.kill()
            await self._read_log(self._process)
            await self._process.wait()
        finally:
            self.kill()

    async def _read_log(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            text = line.decode(errors="replace")
            self.log.append(text)
            written = api_pb2.TaskLogs(data=text, file_descriptor=api_pb2.FILE_DESCRIPTOR_STDOUT)
            self.function.app.log(api_pb2.TaskLogsBatch(task_id=self.task_id, items=[written]))
