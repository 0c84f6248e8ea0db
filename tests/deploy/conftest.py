from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.modal_server import modal_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    import modal

    from tests.support.modal_server import ModalServer

SMALL_APP = Path(__file__).with_name("small_app.py")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModalServer]:
    with modal_server(tmp_path_factory.mktemp("modal")) as server:
        yield server


@pytest.fixture
async def client(server: ModalServer) -> AsyncIterator[modal.Client]:
    async with server.client() as client:
        yield client


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait for something that happens in the server or in a container."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - they are other threads and processes
            await asyncio.sleep(0.02)
