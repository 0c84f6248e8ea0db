from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from simcord import actors

from tests.support.discord_server import Member, Server, open_server
from tests.support.recordings import as_file, speech
from tests.support.scripted_backend import ScriptedBackend

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
def careless_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that offers every command to everybody, everywhere."""
    monkeypatch.setattr(actors, "_check_command_access", lambda *_arguments: None)


@pytest.fixture
def manager(server: Server) -> Member:
    """A member with Manage Server."""
    return server.manager("manager")


@pytest.fixture
def backend() -> ScriptedBackend:
    return ScriptedBackend()


@pytest.fixture
async def server(tmp_path: Path, backend: ScriptedBackend) -> AsyncIterator[Server]:
    async with open_server(tmp_path, backend) as opened:
        yield opened


@pytest.fixture
def ada(server: Server) -> Member:
    return server.member("ada")


@pytest.fixture
def grace(server: Server) -> Member:
    return server.member("grace")


@pytest.fixture(scope="session")
def recording() -> bytes:
    """Six seconds of speech, as a wav file."""
    return as_file(speech(6.0), 24_000, "wav")
