"""Nothing that the loopback server started is left, however it ends."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import modal
import pytest

from tests.deploy.conftest import SMALL_APP, until
from tests.support.modal_server import modal_server
from tests.support.modal_server.server import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

KILLED_TEST_RUN = """
import asyncio, os, pathlib, sys
import modal
from tests.deploy.conftest import SMALL_APP
from tests.support.modal_server import modal_server

async def main():
    with modal_server(pathlib.Path(sys.argv[1])) as server:
        await server.deploy(SMALL_APP)
        async with server.client() as client:
            await modal.Cls.from_name("small", "Small", client=client)().greet.remote.aio("Ada")
            print(server.containers[0].pid, flush=True)
            os.kill(os.getpid(), 9)

asyncio.run(main())
"""


@pytest.mark.slow
async def test_nothing_is_left_running(tmp_path: Path) -> None:
    with modal_server(tmp_path) as server:
        await server.deploy(SMALL_APP)
        async with server.client() as client:
            await modal.Cls.from_name("small", "Small", client=client)().nap.spawn.aio(60)
            await until(lambda: any(each.running for each in server.containers))
            [container] = server.containers
    assert not server.containers
    assert container.pid
    with pytest.raises(ProcessLookupError):
        os.kill(container.pid, 0)


@pytest.mark.slow
async def test_containers_do_not_outlive_a_test_run_that_is_killed(tmp_path: Path) -> None:
    command = (sys.executable, "-c", KILLED_TEST_RUN, str(tmp_path))
    killed = await asyncio.to_thread(
        subprocess.run, command, cwd=REPOSITORY, stdout=subprocess.PIPE, timeout=60, check=False
    )
    group = int(killed.stdout)

    def is_gone() -> bool:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        return False

    await until(is_gone)
