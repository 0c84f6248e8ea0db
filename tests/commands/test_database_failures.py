"""Nobody loses speech because of the database, and whoever needs it hears whose fault it is."""

from __future__ import annotations

import io
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

import pytest
import soundfile
from structlog.testing import capture_logs

from bot.errors import Reason
from bot.interface.wording.sentences import REFUSALS
from tests.support import failing_databases
from tests.support.databases import postgres_url, sqlite_url
from tests.support.discord_server import open_server
from tests.support.public_words import attribution
from tests.support.voice_guild import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from tests.support.discord_server import Server
    from tests.support.scripted_backend import ScriptedBackend

__all__ = ["postgres_url", "sqlite_url"]

pytestmark = pytest.mark.realtime

SENTENCES = 50
TEXT = " ".join(f"This is number {number}." for number in range(SENTENCES))


@dataclass
class Failing:
    """A bot, and what happens to its database.

    Attributes:
        server: Where the bot is.
        now: A context in which the database fails.
    """

    server: Server
    now: Callable[[], AbstractAsyncContextManager[None]]


@pytest.fixture(
    params=[
        ("sqlite_url", failing_databases.locked),
        ("sqlite_url", failing_databases.read_only),
        ("postgres_url", failing_databases.gone),
    ],
    ids=lambda param: param[1].__name__,
)
def where(request: pytest.FixtureRequest) -> tuple[str, Callable[..., object]]:
    kind, failure = request.param
    return request.getfixturevalue(kind), failure


@pytest.fixture
async def failing(
    where: tuple[str, Callable[[str], AbstractAsyncContextManager[None]]],
    tmp_path: Path,
    backend: ScriptedBackend,
) -> AsyncIterator[Failing]:
    url, failure = where
    async with open_server(tmp_path, backend, database_url=url) as server:
        server.in_real_time()
        yield Failing(server, partial(failure, url))


async def test_speech_is_posted_though_nothing_can_be_written(
    failing: Failing, backend: ScriptedBackend
) -> None:
    ada = failing.server.member("ada")
    await ada.saves_voice()
    spoken = count(1)
    async with AsyncExitStack() as stack:

        async def fail_in_the_middle(_request: object) -> None:
            if next(spoken) == SENTENCES // 2:
                await stack.enter_async_context(failing.now())

        backend.on_speak = fail_in_the_middle
        with capture_logs() as logs:
            answer = await ada.types("say", text=TEXT)
            await eventually(lambda: answer.posted)
            (file,) = await answer.files()
            await failing.server.bot.close()

    assert len(backend.spoken) == SENTENCES
    assert soundfile.info(io.BytesIO(file)).duration > 0.8 * sum(map(len, backend.spoken)) * 0.05
    assert answer.posted[0].content.startswith(attribution("ada", ada))
    (lost,) = [entry for entry in logs if entry["event"] == "not written to the database"]
    assert lost["lost"] == dict.fromkeys(["loudness", "last use", "audit log", "posts", "usage"], 1)


async def test_whoever_saves_something_hears_that_it_is_the_bots_fault(
    failing: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.storage.database.LOCK_WAIT_SECONDS", 0.5)
    ada = failing.server.member("ada")
    await ada.saves_voice()
    with capture_logs() as logs:
        async with failing.now():
            answer = await ada.types("dictionary add", word="GIF", spoken="jif")
            await eventually(lambda: "database" in answer.told)

    assert answer.told in {
        REFUSALS[Reason.DATABASE_NOT_READ],
        REFUSALS[Reason.DATABASE_NOT_WRITTEN],
    }
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"]
