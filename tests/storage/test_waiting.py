"""While somebody writes for long: reads go on, and writes wait in order."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from bot.errors import Reason
from bot.storage.database import open_database
from bot.voices.dictionary import Dictionaries
from bot.voices.library import VoiceLibrary
from bot.voices.records import Whose
from tests.support.failing_databases import locked
from tests.support.refusals import refused
from tests.voices.people import ANA, BEN, GUILD, MODEL, default_of, save, suggested

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bot.storage.database import Database


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await open_database(database_url)
    yield database
    await database.close()


@pytest.mark.realtime
async def test_reads_answer_at_once_while_many_writes_wait(
    database: Database, database_url: str
) -> None:
    library, words = VoiceLibrary(database), Dictionaries(database)
    voice = await save(library, ANA, "Grandma")
    async with locked(database_url):
        writers = [
            asyncio.create_task(library.rename(ANA, "Grandma", f"Grandma {n}")) for n in range(30)
        ]
        await asyncio.sleep(0.5)

        began = time.monotonic()
        answers = [
            await asyncio.gather(
                suggested(library, ANA, "gra"),
                library.find(ANA, "grandma"),
                default_of(library, ANA),
                library.prompt(voice, MODEL),
                words.spoken_for(ANA, GUILD),
            )
            for _ in range(10)
        ]
        took = time.monotonic() - began
        assert not any(writer.done() for writer in writers)

    assert [answer[0] for answer in answers] == [["Grandma"]] * 10
    assert took < 2.0, "with one connection for all, each took as long as the writer"
    outcomes = await asyncio.gather(*writers, return_exceptions=True)
    (renamed,) = (outcome for outcome in outcomes if not isinstance(outcome, BaseException))
    assert await suggested(library, ANA, "gra") == [renamed.name]


async def test_writes_are_done_in_the_order_in_which_they_were_begun(
    sqlite_url: str,
) -> None:
    database = await open_database(sqlite_url)
    words = Dictionaries(database)
    async with locked(sqlite_url):
        writers = [
            asyncio.create_task(words.add(Whose.PERSON, ANA, "word", f"spoken {n}"))
            for n in range(20)
        ]
        await asyncio.sleep(0.05)

    done: list[str] = [(await writer).spoken for writer in asyncio.as_completed(writers)]

    assert done == [f"spoken {n}" for n in range(20)]
    await database.close()


async def test_nobody_waits_for_a_process_that_has_lost_the_network(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.storage.engines.SILENT_SECONDS", 0.2)
    lost, ours = [await open_database(postgres_url) for _ in range(2)]
    has_lock = asyncio.Event()

    async def hold_the_lock() -> None:
        async with lost.write() as session:
            await lost.lock(session, "limits")
            has_lock.set()
            await asyncio.Event().wait()

    holding = asyncio.create_task(hold_the_lock())
    await has_lock.wait()
    async with asyncio.timeout(10), ours.write() as session:
        await ours.lock(session, "limits")
    holding.cancel()
    await asyncio.gather(holding, return_exceptions=True)
    for database in (lost, ours):
        await database.close()


async def test_a_write_that_waited_too_long_says_so(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.storage.database.LOCK_WAIT_SECONDS", 0.5)
    monkeypatch.setattr("bot.storage.engines.LOCK_WAIT_SECONDS", 0.5)
    database = await open_database(database_url)
    library = VoiceLibrary(database)
    await save(library, ANA, "Grandma")
    async with locked(database_url):
        many = [asyncio.create_task(save(library, BEN, f"{n}")) for n in range(8)]
        with refused(Reason.DATABASE_NOT_WRITTEN):
            await library.rename(ANA, "Grandma", "Grandpa")
        outcomes = await asyncio.gather(*many, return_exceptions=True)
        assert {str(outcome) for outcome in outcomes} == {Reason.DATABASE_NOT_WRITTEN}

    assert (await library.rename(ANA, "Grandma", "Grandpa")).name == "Grandpa"
    await database.close()


async def test_closing_does_not_wait_for_somebody_elses_lock(
    sqlite_url: str,
) -> None:
    database = await open_database(sqlite_url)
    library = VoiceLibrary(database)
    voice = await save(library, ANA, "Grandma")
    async with locked(sqlite_url):
        waiting = asyncio.create_task(library.rename(ANA, "Grandma", "Grandpa"))
        lost = library.defaults.touch(voice)
        await asyncio.sleep(0.1)
        async with asyncio.timeout(10):
            await database.close(within=0.1)
        with refused(Reason.DATABASE_NOT_WRITTEN):
            await waiting
        assert not await lost
