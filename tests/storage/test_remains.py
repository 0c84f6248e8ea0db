"""What was deleted leaves SQLite's log and pages, also while others read, and after a restart."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import asynccontextmanager, closing
from itertools import cycle, islice
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import insert, make_url, select, text
from structlog.testing import capture_logs

from bot.storage import remains
from bot.storage.database import open_database
from bot.voices.library import VoiceLibrary
from bot.voices.records import Whose
from bot.voices.tables import ConsentRow, VoiceRow
from tests.support.failing_databases import locked
from tests.voices.people import ANA, BEN, GUILD, save

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bot.storage.database import Database

CLIP = b"the sound of Ana"
STAYS = "deleted data stays in the log while another program reads for long"


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remains, "TRIES_TO_EMPTY_LOG", 3)
    monkeypatch.setattr(remains, "SECONDS_BETWEEN_LATER_TRIES", 0.05)
    monkeypatch.setattr(remains, "SECONDS_AFTER_FAILURE", 0.05)
    monkeypatch.setattr(remains, "IDLE_SECONDS", 0.0)


@pytest.fixture
async def database(sqlite_url: str) -> AsyncIterator[Database]:
    database = await open_database(sqlite_url)
    yield database
    await database.close()


@pytest.fixture
async def library(database: Database) -> VoiceLibrary:
    library = VoiceLibrary(database)
    await save(library, ANA, "Ana", CLIP * 5_000)
    await save(library, BEN, "Ben", b"the sound of Ben" * 5_000)
    return library


@asynccontextmanager
async def reading(url: str) -> AsyncIterator[None]:
    """Another program reads for long, as a backup does."""
    with closing(sqlite3.connect(str(make_url(url).database), isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM voices").fetchall()
        yield


def on_disk(url: str) -> bytes:
    folder = Path(str(make_url(url).database)).parent
    return b"".join(file.read_bytes() for file in folder.iterdir())


async def counted(database: Database) -> int:
    async with database.read() as session:
        return int(await session.scalar(text("PRAGMA user_version")) or 0)


async def test_a_deletion_says_that_the_log_is_busy_and_the_log_is_emptied_later(
    library: VoiceLibrary, database: Database, sqlite_url: str
) -> None:
    with capture_logs() as logs:
        async with reading(sqlite_url):
            assert not await library.delete(await library.find(ANA, "Ana"))
            assert CLIP in on_disk(sqlite_url)
        await database.remains_erased()

    assert CLIP not in on_disk(sqlite_url)
    assert b"the sound of Ben" in on_disk(sqlite_url)
    assert await counted(database) == 0
    assert [entry["event"] for entry in logs if entry["log_level"] != "debug"] in ([], [STAYS])


async def test_forgetting_says_so_too(
    library: VoiceLibrary, database: Database, sqlite_url: str
) -> None:
    async with reading(sqlite_url):
        assert not (await library.forget(ANA)).is_complete
    assert (await library.forget(BEN)).is_complete
    await database.remains_erased()
    assert b"the sound of" not in on_disk(sqlite_url)


async def test_others_can_write_while_the_log_is_busy(
    library: VoiceLibrary, database: Database, sqlite_url: str
) -> None:
    other = VoiceLibrary(await open_database(sqlite_url))
    async with reading(sqlite_url):
        deleting = asyncio.create_task(library.delete(await library.find(ANA, "Ana")))
        for number in range(5):
            await other.rename(BEN, "Ben" if number == 0 else f"Ben {number - 1}", f"Ben {number}")
            await library.defaults.touch(await library.find(BEN, f"Ben {number}"))
        assert not await deleting

    await other.close()
    await database.remains_erased()
    assert CLIP not in on_disk(sqlite_url)


async def test_what_was_left_is_removed_after_a_restart(
    library: VoiceLibrary, sqlite_url: str
) -> None:
    async with reading(sqlite_url):
        await library.delete(await library.find(ANA, "Ana"))
        await library.close()
        assert CLIP in on_disk(sqlite_url)

        again = await open_database(sqlite_url)
        assert CLIP in on_disk(sqlite_url), "it is still read"
    await again.remains_erased()

    assert CLIP not in on_disk(sqlite_url)
    assert await counted(again) == 0
    await again.close()
    with capture_logs() as logs:
        await (await open_database(sqlite_url)).close()
    assert logs == [], "nothing is left to do"


async def test_names_and_transcripts_leave_the_gaps_of_pages(
    library: VoiceLibrary, database: Database, sqlite_url: str
) -> None:
    """Two people in turns, rows of many lengths in another order: SQLite moves them about."""
    lengths = Random(1)  # noqa: S311 - the same in each run
    people = {ANA: "Ana", BEN: "Ben"}
    async with database.write() as session:
        consents = {row.user_id: row for row in await session.scalars(select(ConsentRow))}
        rows = [
            {
                "id": 1_000 + number * 83 % 601,
                "owner_id": owner,
                "name": f"{name} {number * 7919 % 1000}",
                "name_key": f"{name} {number * 7919 % 1000}",
                "clip_flac": bytes(lengths.randrange(600)),
                "clip_seconds": 1.0,
                "transcript": f"{name} said {'a' * lengths.randrange(500)}",
                "consent_id": consents[owner].id,
                "created_at": consents[owner].attested_at,
            }
            for number, (owner, name) in enumerate(islice(cycle(people.items()), 300))
        ]
        await session.execute(insert(VoiceRow), rows)

    await library.forget(ANA)
    await database.remains_erased()

    left = on_disk(sqlite_url)
    assert [trace for trace in (b"Ana ", ANA.to_bytes(8, "big")) if trace in left] == []
    assert (await library.page(BEN)).total == 151


async def test_a_write_does_not_wait_until_pages_are_cleaned(
    library: VoiceLibrary, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It interrupts that, until it was put off for long."""
    cleaner = database._remains
    assert cleaner is not None
    asked: list[object] = []

    class Driver:
        async def interrupt(self) -> None:
            asked.append(self)

    monkeypatch.setattr(cleaner, "_vacuuming", Driver())
    await library.rename(BEN, "Ben", "Ben again")
    assert len(asked) == 1

    monkeypatch.setattr(cleaner, "_insists", True)
    await library.rename(BEN, "Ben again", "Ben")
    assert len(asked) == 1


async def test_an_interrupted_cleaning_is_begun_again(
    library: VoiceLibrary, database: Database, sqlite_url: str
) -> None:
    await save(library, BEN, "long", bytes(20_000_000))
    await library.delete(await library.find(ANA, "Ana"))
    for number in range(10):
        await library.rename(BEN, "Ben" if number == 0 else f"Ben {number - 1}", f"Ben {number}")
        await asyncio.sleep(0.01)
    await database.remains_erased()

    assert await counted(database) == 0
    assert (await library.clip(await library.find(BEN, "long"))).flac == bytes(20_000_000)
    assert CLIP not in on_disk(sqlite_url)


async def test_cleaning_waits_for_who_writes_for_long(
    library: VoiceLibrary, database: Database, sqlite_url: str
) -> None:
    await library.delete(await library.find(ANA, "Ana"))
    with capture_logs() as logs:
        async with locked(sqlite_url):
            await asyncio.sleep(0.6)
        await database.remains_erased()

    assert await counted(database) == 0
    assert [entry for entry in logs if entry["log_level"] == "error"] == []


async def test_a_bot_that_stops_leaves_the_rest_to_the_next(
    library: VoiceLibrary, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remains, "IDLE_SECONDS", 1_000.0)
    await library.delete(await library.find(ANA, "Ana"))
    async with asyncio.timeout(10):
        await library.close()
    assert CLIP not in on_disk(sqlite_url)

    again = await open_database(sqlite_url)
    assert await counted(again) > 0
    await again.remains_erased(at_once=True)
    assert await counted(again) == 0
    await again.close()


async def test_two_bots_on_one_file_clean_it_together(
    library: VoiceLibrary, database: Database, sqlite_url: str
) -> None:
    other = VoiceLibrary(second := await open_database(sqlite_url))
    await asyncio.gather(library.forget(ANA), other.forget(BEN))
    await asyncio.gather(database.remains_erased(), second.remains_erased())
    await other.close()

    assert await counted(database) == 0
    assert b"the sound of" not in on_disk(sqlite_url)


async def test_a_word_of_a_dictionary_goes_too(database: Database, sqlite_url: str) -> None:
    from bot.voices.dictionary import Dictionaries  # noqa: PLC0415 - only here

    words = Dictionaries(database)
    await words.add(Whose.SERVER, GUILD, "Anabel", "Anna Bell")
    assert b"Anna Bell" in on_disk(sqlite_url)
    await words.remove(Whose.SERVER, GUILD, "Anabel")
    await database.remains_erased()
    assert b"Anna Bell" not in on_disk(sqlite_url)


async def test_postgresql_vacuums_itself(postgres_url: str) -> None:
    library = VoiceLibrary(database := await open_database(postgres_url))
    await save(library, ANA, "Ana")
    assert await library.delete(await library.find(ANA, "Ana"))
    await database.remains_erased()
    await library.close()
