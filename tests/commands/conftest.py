from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from pytest_asyncio import is_async_test
from simcord import actors

from tests.support.recordings import as_file, speech
from tests.support.scripted_backend import ScriptedBackend
from tests.support.shared_bot import SharedBot

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.discord_server import Member, Server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests that share a bot in one loop."""
    for item in items:
        if "shared_bot" in getattr(item, "fixturenames", ()) and is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="module"), append=False)


@pytest.fixture
def careless_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that offers every command to everybody, everywhere."""
    monkeypatch.setattr(actors, "_check_command_access", lambda *_arguments: None)


@pytest.fixture
def manager(server: Server) -> Member:
    """A member with Manage Server."""
    return server.manager("manager")


@pytest.fixture(scope="module")
def engine() -> ScriptedBackend:
    """The voice engine of the file's bot."""
    return ScriptedBackend()


@pytest.fixture
def backend(engine: ScriptedBackend) -> ScriptedBackend:
    """The voice engine, which knows nothing of the tests before."""
    engine.forget()
    return engine


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_bot(
    tmp_path_factory: pytest.TempPathFactory, engine: ScriptedBackend
) -> AsyncIterator[SharedBot]:
    """The bot of the file's tests, whose loop they run in."""
    bot = SharedBot(lambda: tmp_path_factory.mktemp("bot"), engine)
    yield bot
    await bot.close()


@pytest_asyncio.fixture(loop_scope="module")
async def new_bot(shared_bot: SharedBot) -> None:
    """Let the bot of the test be one that nobody has used."""
    await shared_bot.close()


@pytest_asyncio.fixture(loop_scope="module")
async def server(
    shared_bot: SharedBot, backend: ScriptedBackend, request: pytest.FixtureRequest
) -> AsyncIterator[Server]:
    """A new server, with a bot that serves those of the file's other tests, too."""
    assert backend is not None
    failed_before = request.session.testsfailed
    async with shared_bot.server() as opened:
        yield opened
        opened.is_changed |= request.session.testsfailed > failed_before


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
