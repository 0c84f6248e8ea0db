from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.api import Api, running_api
from tests.support.recordings import as_file, speech
from tests.support.scripted_backend import ScriptedBackend

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
def backend() -> ScriptedBackend:
    return ScriptedBackend()


@pytest.fixture
async def api(tmp_path: Path, backend: ScriptedBackend) -> AsyncIterator[Api]:
    async with running_api(tmp_path, backend) as running:
        yield running


@pytest.fixture(scope="session")
def recording() -> bytes:
    """Six seconds of speech, as a wav file."""
    return as_file(speech(6.0), 24_000, "wav")
