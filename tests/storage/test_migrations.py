"""Databases of earlier versions, with what people saved in them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import (
    Boolean,
    Connection,
    Date,
    Double,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    func,
    insert,
    inspect,
    select,
    update,
)
from sqlalchemy.ext.asyncio import create_async_engine

from backend.contract import VoicePrompt
from bot.guilds import tables as guilds
from bot.guilds.records import ServerSettings
from bot.guilds.server_settings import SettingsOfServers
from bot.storage.database import open_database
from bot.storage.location import location_of
from bot.storage.migrating import migrate
from bot.storage.tables import Base, UtcDateTime
from bot.voices.dictionary import Dictionaries
from bot.voices.library import VoiceLibrary
from bot.voices.records import Whose
from bot.voices.tables import ConsentRow, PromptRow, PronunciationRow, VoiceRow
from tests.voices.people import ANA, BEN, GUILD, MODEL, OTHER_MODEL, default_of, save

if TYPE_CHECKING:
    from collections.abc import Callable

VOICES: tuple[Any, ...] = (ConsentRow, VoiceRow, PromptRow, PronunciationRow)
FIRST_TABLES = {row.__tablename__ for row in VOICES}
CARL = BEN + 1
BEFORE_GUILDS = "0003"
BEFORE_LIVE_ATTRIBUTION = "0005"
BEFORE_CONSENT_OF_EACH_VOICE = "0006"
BEFORE_SPOKEN_CONSENT = "0009"


async def migrated(url: str, to: str) -> None:
    await asyncio.to_thread(migrate, location_of(url), to)


async def ask(url: str, question: Callable[[Connection], Any]) -> Any:
    """Ask or change something; nothing of the bot does it."""
    engine = create_async_engine(location_of(url))
    try:
        async with engine.begin() as connection:
            return await connection.run_sync(question)
    finally:
        await engine.dispose()


def kept(connection: Connection) -> dict[str, list[Any]]:
    """Every value of the tables for voices, as it is stored."""
    metadata = MetaData()
    metadata.reflect(connection, only=[row.__tablename__ for row in VOICES])
    return {
        name: [tuple(row) for row in connection.execute(select(table).order_by(*table.c))]
        for name, table in metadata.tables.items()
    }


def tables(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names()) - {"alembic_version"}


def tables_of_guilds() -> list[Table]:
    """In an order in which rows can be added."""
    return [table for table in Base.metadata.sorted_tables if table.name not in FIRST_TABLES]


def fill_tables_of_guilds(connection: Connection) -> None:
    """Add a row to each table that is not one of the voices'."""
    now = datetime.now(UTC)
    values: dict[type[Any], Any] = {
        UtcDateTime: now,
        Date: now.date(),
        guilds.IdSet: frozenset({GUILD}),
        LargeBinary: b"key",
        String: "1",
        Text: "1",
        Double: 1.0,
        Boolean: True,
    }
    for table in tables_of_guilds():
        row = {column.name: values.get(type(column.type), 1) for column in table.c}
        connection.execute(table.insert().values(row))


def sizes_of_tables_of_guilds(connection: Connection) -> set[int]:
    return {
        connection.scalar(select(func.count()).select_from(table)) or 0
        for table in tables_of_guilds()
    }


async def fill(url: str) -> None:
    """What two people and a server have after a while, in a database of any version."""
    database = await open_database(url)
    library = VoiceLibrary(database)
    voice = await save(library, ANA, "Großmutter 👵", b"fLaC" + bytes(range(256)))
    await library.store_prompt(voice, VoicePrompt(b"\x00\xff", OTHER_MODEL))
    await library.note_loudness(voice, MODEL, -23.25)
    await library.defaults.touch(voice)
    await library.delete(await save(library, BEN, "gone"))
    await save(library, BEN, "Me", transcript=None)
    words = Dictionaries(database)
    await words.add(Whose.SERVER, GUILD, "GIF", "jif")
    await words.add(Whose.PERSON, ANA, "SQL", "sequel")
    await database.close()


@pytest.fixture
async def todays_database(empty_database_url: str) -> str:
    """A database as the version before `bot.guilds` left it."""
    await fill(empty_database_url)
    await migrated(empty_database_url, BEFORE_GUILDS)
    return empty_database_url


async def test_an_update_keeps_everything_and_so_does_going_back(todays_database: str) -> None:
    before = await ask(todays_database, kept)
    old_tables = await ask(todays_database, tables)
    assert {len(rows) for rows in before.values()} == {2, 3}
    assert old_tables == set(before)

    database = await open_database(todays_database)
    library = VoiceLibrary(database)
    voice = await library.find(ANA, "großmutter 👵")
    assert (await library.clip(voice)).flac == b"fLaC" + bytes(range(256))
    assert await library.loudness(voice, MODEL) == -23.25
    assert await default_of(library, ANA) == voice
    assert voice.transcript == "The quick brown fox."
    assert await library.prompt(voice, OTHER_MODEL) == VoicePrompt(b"\x00\xff", OTHER_MODEL)
    assert (await library.find(BEN, "me")).transcript is None
    await database.close()
    assert await ask(todays_database, tables) > old_tables

    await migrated(todays_database, BEFORE_GUILDS)
    assert await ask(todays_database, kept) == before
    assert await ask(todays_database, tables) == old_tables


async def test_an_id_is_not_given_again_after_an_update(todays_database: str) -> None:
    """What is recorded about a deleted voice must not become another voice's."""
    before = await ask(todays_database, kept)
    database = await open_database(todays_database)

    voice = await save(VoiceLibrary(database), BEN, "another")

    assert voice.id > max(row[0] for row in before["voices"])
    assert voice.id > 2, "the second voice was deleted"
    await database.close()


@pytest.mark.parametrize(
    ("name", "before"),
    [
        ("live_attribution", BEFORE_LIVE_ATTRIBUTION),
        ("spoken_consent", BEFORE_SPOKEN_CONSENT),
    ],
)
async def test_servers_decisions_outlast_the_switches_that_came_later(
    empty_database_url: str, name: str, before: str
) -> None:
    """Databases of before don't know of them."""
    url = empty_database_url
    decided = ServerSettings(report_channel_id=7, speak_roles=frozenset({8, 9}))
    database = await open_database(url)
    await SettingsOfServers(database).change(GUILD, lambda _before: decided)
    await database.close()

    def columns(connection: Connection) -> set[str]:
        return {each["name"] for each in inspect(connection).get_columns("server_settings")}

    def switched(earlier: ServerSettings) -> ServerSettings:
        change: dict[str, Any] = {name: not getattr(decided, name)}
        return replace(earlier, **change)

    for _ in range(2):
        await migrated(url, before)
        assert name not in await ask(url, columns)
        database = await open_database(url)
        settings = SettingsOfServers(database)
        assert await settings.of(GUILD) == decided, "as it was"
        changed = await settings.change(GUILD, switched)
        assert await settings.of(GUILD) == changed == switched(decided)
        await database.close()


async def test_a_voices_speed_goes_with_its_table_and_nothing_else_does(
    empty_database_url: str,
) -> None:
    url = empty_database_url
    database = await open_database(url)
    voice = await save(VoiceLibrary(database), ANA, "one")
    await VoiceLibrary(database).set_speed(voice, 1.5)
    await database.close()
    before = await ask(url, kept)

    await migrated(url, BEFORE_SPOKEN_CONSENT)
    assert await ask(url, kept) == before
    database = await open_database(url)
    library = VoiceLibrary(database)
    assert await library.find(ANA, "one") == voice, "at its own speed again"
    await library.set_speed(voice, 0.5)
    assert (await library.find(ANA, "one")).speed == 0.5
    await library.delete(voice)
    await database.close()


async def test_what_servers_decided_goes_with_its_tables(database_url: str) -> None:
    await fill(database_url)
    before = await ask(database_url, kept)
    database = await open_database(database_url)
    async with database.write() as session:
        await session.run_sync(lambda session: fill_tables_of_guilds(session.connection()))
    await database.close()
    assert await ask(database_url, sizes_of_tables_of_guilds) == {1}

    await migrated(database_url, BEFORE_GUILDS)
    await (await open_database(database_url)).close()
    assert await ask(database_url, sizes_of_tables_of_guilds) == {0}
    assert await ask(database_url, kept) == before


def confirmed_once(connection: Connection) -> None:
    """A person's voices share what they confirmed first; later wordings led to no voice."""
    first = select(func.min(ConsentRow.id)).where(ConsentRow.user_id == ANA).scalar_subquery()
    connection.execute(update(VoiceRow).where(VoiceRow.owner_id == ANA).values(consent_id=first))
    connection.execute(update(ConsentRow).values(statement_version="2026-11"))
    at = datetime(2026, 11, 2, tzinfo=UTC)
    later = {"statement_version": "2026-11", "attested_at": at, "guild_id": GUILD}
    connection.execute(insert(ConsentRow), [{"user_id": who, **later} for who in (ANA, CARL)])


async def test_voices_keep_the_consent_that_they_have_until_the_last_of_them_is_deleted(
    empty_database_url: str,
) -> None:
    url = empty_database_url
    database = await open_database(url)
    before = [await save(VoiceLibrary(database), ANA, name) for name in ("one", "two")]
    await database.close()
    await migrated(url, BEFORE_CONSENT_OF_EACH_VOICE)
    await ask(url, confirmed_once)
    assert len((await ask(url, kept))["consents"]) == 4

    database = await open_database(url)
    library = VoiceLibrary(database)
    one, two = [await library.find(ANA, voice.name) for voice in before]
    assert one.consent == two.consent == replace(before[0].consent, statement_version="2026-11")
    assert not await library.keeps_anything_about(CARL), "no voice was ever saved"
    await database.close()
    [consent] = (await ask(url, kept))["consents"]

    await migrated(url, BEFORE_CONSENT_OF_EACH_VOICE)
    assert (await ask(url, kept))["consents"] == [consent]
    database = await open_database(url)
    library = VoiceLibrary(database)
    await library.delete(one)
    assert (await library.find(ANA, "two")).consent == two.consent
    await library.delete(two)
    assert not await library.keeps_anything_about(ANA)
    await database.close()
