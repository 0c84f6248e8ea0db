"""Writes that nobody waits for: whatever happens to the database, they raise nothing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select, text
from structlog.testing import capture_logs

from bot.guilds.records import AuditAction
from bot.guilds.tables import AuditRow
from bot.storage import background
from bot.storage.database import open_database
from bot.voices.library import VoiceLibrary
from tests.support import failing_databases
from tests.support.voice_guild import eventually
from tests.voices.people import ANA, MODEL, default_of, save

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from bot.storage.database import Database
    from tests.support.databases import Clock

NOT_TAKEN = "the database takes no writes; they wait"
TAKEN_AGAIN = "the database takes writes again"
LOST = "not written to the database"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await open_database(database_url)
    yield database
    await database.close()


@dataclass
class Failing:
    """A database, and what happens to it.

    Attributes:
        url: Where it is.
        now: A context in which it fails.
    """

    url: str
    now: Callable[[], AbstractAsyncContextManager[None]]


@pytest.fixture(
    params=[
        ("sqlite_url", failing_databases.locked),
        ("sqlite_url", failing_databases.full),
        ("sqlite_url", failing_databases.read_only),
        ("postgres_url", failing_databases.gone),
    ],
    ids=lambda param: param[1].__name__,
)
def failing(request: pytest.FixtureRequest) -> Failing:
    kind, failure = request.param
    url = request.getfixturevalue(kind)
    return Failing(url, partial(failure, url))


def noted(database: Database, number: int, at: datetime) -> asyncio.Future[bool]:
    """A line of the audit log, as the bot writes many."""

    async def write(session: AsyncSession) -> None:
        session.add(AuditRow(at=at, action=AuditAction.WARMED, details=str(number)))

    return database.later("audit", write)


async def audit(database: Database) -> list[str]:
    async with database.read() as session:
        return list(await session.scalars(select(AuditRow.details).order_by(AuditRow.id)))


def events(logs: list[Any]) -> list[str]:
    return [entry["event"] for entry in logs]


async def test_they_are_done_in_order(database: Database, clock: Clock) -> None:
    written = [noted(database, number, clock()) for number in range(20)]
    assert not any(each.done() for each in written), "nobody waited"

    await database.written()

    assert await audit(database) == [str(number) for number in range(20)]


async def test_they_are_done_once_the_database_takes_them_again(
    failing: Failing, clock: Clock
) -> None:
    database = await open_database(failing.url)
    library = VoiceLibrary(database)
    voice = await save(library, ANA, "Grandma")
    with capture_logs() as logs:
        async with failing.now():
            for number in range(50):
                noted(database, number, clock())
                library.defaults.touch(voice)
                loudness = library.note_loudness(voice, MODEL, -float(number))
            await eventually(lambda: NOT_TAKEN in events(logs))
            assert not loudness.done()
        assert await loudness

    await database.written()
    assert await audit(database) == [str(number) for number in range(50)]
    assert await library.loudness(voice, MODEL) == -49.0
    assert (await library.find(ANA, "Grandma")).last_used_at is not None
    assert events(logs) == [NOT_TAKEN, TAKEN_AGAIN]
    await database.close()


async def test_what_is_not_written_by_the_end_is_counted_in_the_log(
    failing: Failing, clock: Clock
) -> None:
    database = await open_database(failing.url)
    library = VoiceLibrary(database)
    voice = await save(library, ANA, "Grandma")
    with capture_logs() as logs:
        async with failing.now():
            last = [noted(database, number, clock()) for number in range(3)]
            last.append(library.defaults.touch(voice))
            await database.close(within=0.3)

    assert await asyncio.gather(*last) == [False] * 4
    assert logs[-1]["event"] == LOST
    assert (logs[-1]["total"], logs[-1]["lost"]) == (4, {"audit": 3, "last use": 1})
    assert "Grandma" not in str(logs)


async def test_what_waits_at_the_end_is_written(database_url: str, clock: Clock) -> None:
    database = await open_database(database_url)
    for number in range(100):
        noted(database, number, clock())
    with capture_logs() as logs:
        await database.close(within=60)
        assert logs == []
        assert not await noted(database, 100, clock()), "nothing is written any more"
    assert (logs[0]["event"], logs[0]["lost"]) == (LOST, {"audit": 1})

    database = await open_database(database_url)
    assert len(await audit(database)) == 100
    await database.close()


async def test_no_more_wait_than_there_is_room_for(
    sqlite_url: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "MOST_WAITING", 10)
    database = await open_database(sqlite_url)
    library = VoiceLibrary(database)
    voice = await save(library, ANA, "Grandma")
    with capture_logs() as logs:
        async with failing_databases.locked(sqlite_url):
            library.defaults.touch(voice)
            results = [noted(database, number, clock()) for number in range(1_000)]
            library.defaults.touch(voice)  # in the place of the other
            assert not await results[-1]
        await database.written()

    assert await audit(database) == [str(number) for number in range(9)]
    assert (await library.find(ANA, "Grandma")).last_used_at is not None
    full, lost = (entry for entry in logs if entry["log_level"] == "error")
    assert full["event"] == "too many writes wait; the next ones are lost"
    assert (lost["event"], lost["lost"]) == (LOST, {"audit": 991})
    await database.close()


async def test_a_write_that_can_never_succeed_holds_up_no_others(
    database: Database, clock: Clock
) -> None:
    async def no_such_table(session: AsyncSession) -> None:
        await session.execute(text("INSERT INTO nowhere VALUES (1)"))

    async def wrong_sql(session: AsyncSession) -> None:
        await session.execute(text("INSERT IN audit"))

    async def nothing_where_something_is_needed(session: AsyncSession) -> None:
        session.add(AuditRow(action=AuditAction.WARMED))

    async def too_large(session: AsyncSession) -> None:
        session.add(AuditRow(at=clock(), action=AuditAction.WARMED, actor_id=2**70))

    async def raises(_session: AsyncSession) -> None:
        raise ValueError("a defect")

    wrong = [no_such_table, wrong_sql, nothing_where_something_is_needed, too_large, raises]
    with capture_logs() as logs:
        results = [database.later("defect", write) for write in wrong]
        noted(database, 1, clock())
        await database.written()

    assert await asyncio.gather(*results) == [False] * len(wrong)
    assert await audit(database) == ["1"]
    assert [entry["what"] for entry in logs] == ["defect"] * len(wrong)


async def test_what_is_too_long_for_postgresql_holds_up_no_others(
    postgres_url: str, clock: Clock
) -> None:
    database = await open_database(postgres_url)

    async def too_long(session: AsyncSession) -> None:
        session.add(AuditRow(at=clock(), action="x" * 50))

    with capture_logs():
        refused = database.later("defect", too_long)
        assert await noted(database, 1, clock())

    assert not await refused
    await database.close()


async def test_a_voice_is_the_last_used_before_that_is_written(sqlite_url: str) -> None:
    database = await open_database(sqlite_url)
    library = VoiceLibrary(database)
    first, second = await save(library, ANA, "first"), await save(library, ANA, "second")
    await library.defaults.touch(second)
    async with failing_databases.locked(sqlite_url):
        library.defaults.touch(first)
        assert await default_of(library, ANA) == first

    await database.written()
    used = await default_of(library, ANA)
    assert used is not None
    assert used.id == first.id
    await database.close()
