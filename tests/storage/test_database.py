from __future__ import annotations

import asyncio
import sqlite3
import sys
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, make_url, text

from bot.guilds import tables as _guild_tables  # noqa: F401 - adds its tables to `Base`
from bot.storage.database import Database, open_database
from bot.storage.location import DatabaseUnusableError
from bot.storage.tables import Base
from bot.voices.library import VoiceLibrary
from tests.voices.people import ANA, BEN, save

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    database = await open_database(url)
    try:
        yield database
    finally:
        await database.close()


async def test_the_migrations_make_what_the_tables_describe(empty_database_url: str) -> None:
    def differences(connection: Connection) -> list[Any]:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        return list(compare_metadata(context, Base.metadata))

    async with opened(empty_database_url) as database, database.read() as session:
        assert await (await session.connection()).run_sync(differences) == []


async def test_opening_a_database_again_keeps_what_it_holds(database_url: str) -> None:
    for name in ("one", "two", "three"):
        async with opened(database_url) as database:
            await save(VoiceLibrary(database), ANA, name)

    async with opened(database_url) as database:
        assert (await VoiceLibrary(database).page(ANA)).total == 3


async def test_a_newer_database_is_left_alone(database_url: str) -> None:
    async with opened(database_url) as database, database.write() as session:
        await session.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(DatabaseUnusableError, match=r"newer version of Timbre\. Install that"):
        await open_database(database_url)


STARTING_BOT = """
import asyncio, sys
from bot.storage.database import open_database

async def main(url):
    database = await open_database(url)
    await database.close()

print("ready", flush=True)
sys.stdin.readline()
asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.slow
async def test_bots_that_start_at_once_migrate_once(empty_database_url: str) -> None:
    bots = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", "-c", STARTING_BOT, empty_database_url),
            cwd=Path(__file__).parents[2],
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        for _ in range(3)
    ]
    for bot in bots:
        assert bot.stdout is not None
        assert await bot.stdout.readline() == b"ready\n"

    endings = await asyncio.gather(*(bot.communicate(b"\n") for bot in bots))

    assert [(bot.returncode, errors) for bot, (_, errors) in zip(bots, endings, strict=True)] == [
        (0, b""),
    ] * 3
    async with opened(empty_database_url) as database:
        await save(VoiceLibrary(database), ANA, "Grandma")


async def test_a_new_file_may_be_opened_many_times_at_once(sqlite_url: str) -> None:
    databases = await asyncio.gather(*(open_database(sqlite_url) for _ in range(8)))

    await save(VoiceLibrary(databases[0]), ANA, "Grandma")
    for database in databases:
        assert (await VoiceLibrary(database).page(ANA)).total == 1
        await database.close()


async def test_two_databases_open_at_once_in_one_process(tmp_path: Path) -> None:
    databases = await asyncio.gather(
        *(open_database(f"sqlite:///{tmp_path}/{name}.db") for name in ("one", "two")),
    )
    one, two = (VoiceLibrary(database) for database in databases)

    await save(one, ANA, "Grandma")
    await save(two, BEN, "Grandpa")

    assert ((await one.page(BEN)).total, (await two.page(BEN)).total) == (0, 1)
    await one.close()
    await two.close()


async def test_the_event_loop_goes_on_while_a_database_is_opened(sqlite_url: str) -> None:
    opening = asyncio.ensure_future(open_database(sqlite_url))
    turns = 0
    while not opening.done():
        await asyncio.sleep(0.001)
        turns += 1

    await opening.result().close()
    assert turns > 10


async def test_a_file_in_a_folder_with_an_odd_name_is_created(tmp_path: Path) -> None:
    folder = tmp_path / "with space" / "50% näher"
    async with opened(f"sqlite:///{folder}/voices.db") as database:
        await save(VoiceLibrary(database), ANA, "Grandma")

    assert (folder / "voices.db").exists()


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("voices.db", "isn't a URL"),
        ("", "isn't a URL"),
        ("mysql://user:secret@host/timbre", "kind mysql aren't supported"),
        ("sqlite://", "memory are lost"),
        ("sqlite:///:memory:", "memory are lost"),
        ("secret://[", "isn't a URL|aren't supported"),
    ],
)
async def test_an_address_that_cannot_work_is_explained(url: str, problem: str) -> None:
    with pytest.raises(DatabaseUnusableError, match=problem):
        await open_database(url)


async def test_a_file_that_is_no_database_is_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("Not a database. " * 100)

    with pytest.raises(DatabaseUnusableError, match="not a database"):
        await open_database(f"sqlite:///{file}")
    assert file.read_text() == "Not a database. " * 100


async def test_a_folder_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnusableError, match="unable to open"):
        await open_database(f"sqlite:///{tmp_path}")


async def test_a_folder_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(DatabaseUnusableError, match="can't be opened"):
        await open_database(f"sqlite:///{tmp_path}/file/folder/voices.db")


async def test_another_programs_database_is_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "other.db"
    with closing(sqlite3.connect(file)) as other:
        other.execute("CREATE TABLE voices (choir TEXT)")

    with pytest.raises(DatabaseUnusableError, match="voices already exists"):
        await open_database(f"sqlite:///{file}")
    with closing(sqlite3.connect(file)) as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("voices",)]


async def test_postgresql_refusals_are_explained_without_the_password(postgres_url: str) -> None:
    secret = uuid4().hex
    location = make_url(postgres_url).set(database="timbre_nowhere", password=secret)
    nowhere = location.set(host="127.0.0.1", port=1)

    for wrong in (location, nowhere):
        with pytest.raises(DatabaseUnusableError, match="can't be opened") as refusal:
            await open_database(wrong.render_as_string(hide_password=False))
        assert secret not in str(refusal.value)


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://user:{secret}@127.0.0.1:1/timbre",
        "postgresql://127.0.0.1:1/timbre?user=me&password={secret}",
        "postgresql://127.0.0.1:1/timbre?{secret}",
        "postgresql://127.0.0.1:1/timbre?{secret}=1",
        "postgresql://user:p@{secret}@127.0.0.1:1/timbre",
        "postgresql://user:p@{secret}/@127.0.0.1:1/timbre",
        "postgresql://user:{secret}/x@127.0.0.1:1/timbre",
        "postgresql://user/{secret}@127.0.0.1:1/timbre",
        "postgresql://{secret}:1/timbre",
        "postgresql://127.0.0.1:{secret}/timbre",
        "postgresql:// user:{secret}@127.0.0.1:1/timbre",
        "postgresql:/user:{secret}@127.0.0.1:1/timbre",
        "user:{secret}@127.0.0.1:1/timbre",
        "sqlite://user:{secret}@host/voices.db",
        "sqlite://{secret}/voices.db",
        "mysql://user:{secret}@host/timbre",
    ],
)
async def test_no_refusal_shows_a_password_however_it_was_written(address: str) -> None:
    pytest.importorskip("asyncpg")
    secret = "hunter2"  # noqa: S105 - the example
    with pytest.raises(DatabaseUnusableError) as refusal:
        await open_database(address.format(secret=secret))
    assert secret not in str(refusal.value)
