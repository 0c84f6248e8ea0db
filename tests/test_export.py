"""Everything that is kept about a person is in their export, and nothing about anybody else."""

from __future__ import annotations

import io
import json
import zipfile
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import BigInteger, LargeBinary, insert, select, text

from bot import export
from bot.errors import Reason, Refusal
from bot.export import EXPORTED, NOT_EXPORTED, Archive, Exports
from bot.guilds.audit import AuditLog
from bot.guilds.records import AuditAction, ReportKind, ReportState, Subject
from bot.guilds.reports import Reports
from bot.interface.wording.export import SECTIONS, VALUES
from bot.storage.database import open_database
from bot.storage.keys import Keys
from bot.storage.personal import PersonalData
from bot.storage.sealed import SealedBytes
from tests.support.databases import database_url, postgres_url, sqlite_url
from tests.support.personal_rows import LARGE, all_tables, fill

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bot.storage.database import Database

__all__ = ["database_url", "postgres_url", "sqlite_url"]

SERVER, ROLE = 812_345_678_901_234_567, 823_456_789_012_345_678
ADA, EVE, ZOE = 1_198_765_432_109_876_543, 2**63 - 1, 998_765_432_109_876_543
HERE = 887_654_321_098_765_432

THINGS = {
    *("id", "voice_id", "consent_id", "report_id", "model_id"),
    *("guild_id", "decided_in", "channel_id", "message_id"),
    *("report_channel_id", "audit_channel_id", "default_voice_id"),
}
"""Columns with the ids of what isn't a person."""

DESCRIBE = (
    "Whatever is kept about people has to be in /privacy export. Describe the table as a "
    "PersonalTable in PERSONAL in its room's personal.py (add a new room to bot/export.py), and "
    "give it a sentence in SECTIONS in bot/interface/wording/export.py. If no row of it is about "
    "a person, say why in NOT_PERSONAL instead. Not described: "
)
NAME_PEOPLE = (
    "A column that holds the Discord ids of people belongs into `people` of its PersonalTable, so "
    "that rows are found by it and nobody else's id is shown. If it holds the ids of something "
    "else, add its name to THINGS in this file. Neither: "
)
SHOW_BYTES = (
    "Bytes become a file (`files` of the PersonalTable), or aren't shown for a reason (`hidden`). "
    "Neither: "
)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await open_database(database_url, Keys([b"k" * 32]))
    yield database
    await database.close()


async def exported(
    database: Database, person: int, *, max_bytes: int = export.MAX_ARCHIVE_BYTES
) -> list[Archive]:
    packed = Exports(PersonalData(database)).archives(
        person, max_bytes=max_bytes, on_file=lambda _number, _total: None
    )
    async with aclosing(packed):
        return [archive async for archive in packed]


def files_of(archives: list[Archive]) -> dict[str, bytes]:
    """All files in them but the readmes."""
    found: dict[str, bytes] = {}
    for archive in archives:
        with zipfile.ZipFile(io.BytesIO(archive.data)) as opened:
            assert opened.testzip() is None
            for name in opened.namelist():
                if name != "README.txt":
                    assert name not in found
                    found[name] = opened.read(name)
    return found


def readme_of(archive: Archive) -> str:
    with zipfile.ZipFile(io.BytesIO(archive.data)) as opened:
        return opened.read("README.txt").decode()


async def about(database: Database, person: int) -> dict[str, Any]:
    about: dict[str, Any] = json.loads(files_of(await exported(database, person))["about-me.json"])
    return about


async def saves_voice(database: Database, clip: bytes, name: str, transcript: str = "Hi.") -> None:
    tables = all_tables()
    async with database.write() as session:
        at = datetime(2026, 11, 27, tzinfo=UTC)
        consents = tables["consents"]
        consented = insert(consents).values(
            user_id=ADA, statement_version="2026-11", attested_at=at
        )
        consent_id = await session.scalar(consented.returning(consents.c.id))
        await session.execute(
            insert(tables["voices"]).values(
                owner_id=ADA,
                name=name,
                name_key=name.casefold(),
                clip_seconds=12.0,
                transcript=transcript,
                consent_id=consent_id,
                created_at=at,
                clip_flac=clip,
            )
        )


def test_every_table_is_exported_or_says_why_not() -> None:
    described = {kept.table.name for kept in EXPORTED} | set(NOT_EXPORTED)
    missing = set(all_tables()) - described
    assert not missing, f"{DESCRIBE}{', '.join(sorted(missing))}"
    assert described <= set(all_tables())
    assert {kept.title for kept in EXPORTED} == set(SECTIONS), DESCRIBE


def test_every_column_that_names_a_person_is_declared() -> None:
    people = {(kept.table.name, name) for kept in EXPORTED for name in kept.people}
    undeclared = [
        f"{table.name}.{column.name}"
        for table in all_tables().values()
        for column in table.columns
        if isinstance(column.type, BigInteger) or column.name.endswith(("_id", "by"))
        if column.name not in THINGS and (table.name, column.name) not in people
    ]
    assert not undeclared, f"{NAME_PEOPLE}{', '.join(undeclared)}"


def test_bytes_are_files_or_not_shown_for_a_reason() -> None:
    wrong = [
        f"{kept.table.name}.{column.name}"
        for kept in EXPORTED
        for column in kept.shown_columns()
        if isinstance(column.type, SealedBytes | LargeBinary)
    ]
    assert not wrong, f"{SHOW_BYTES}{', '.join(wrong)}"


async def test_every_row_about_a_person_is_exported_and_nobody_else(database: Database) -> None:
    stored = await fill(database, ADA, EVE)

    archives = await exported(database, ADA)
    files = files_of(archives)
    told = json.loads(files["about-me.json"])
    assert [archive.name for archive in archives] == ["about-me.zip"]
    assert {title: len(told.get(title, ())) for title in stored} == stored
    assert told["discord_id"] == str(ADA)
    assert str(EVE).encode() not in b"".join(files.values())
    for kept in EXPORTED:
        for row in told[kept.title]:
            shown = {column.name for column in kept.shown_columns()} | set(kept.files)
            assert set(row) == shown
            assert all(row[name] in {"you", "somebody else", None} for name in kept.people)
            assert all(files[row[name]].startswith(b"bytes ") for name in kept.files)
    [voice] = told["voices"]
    assert voice["transcript"].startswith("transcript "), "it is encrypted in the database"
    assert int(told["posts"][0]["message_id"]) > LARGE, "as a text, which keeps every digit"


async def test_nothing_is_exported_where_nothing_is_kept(database: Database) -> None:
    await fill(database, ADA, EVE)

    assert await Exports(PersonalData(database)).has_any(ADA)
    assert not await Exports(PersonalData(database)).has_any(ZOE)
    assert set(await about(database, ZOE)) == {"discord_id", "exported_at"}


async def test_an_export_says_whom_a_voice_is_shared_with(database: Database) -> None:
    await saves_voice(database, b"clip", "Bob")
    audiences = {"everyone": SERVER, "role": ROLE, "member": EVE}
    async with database.write() as session:
        for audience, audience_id in audiences.items():
            await session.execute(
                insert(all_tables()["voice_shares"]).values(
                    voice_id=1,
                    guild_id=SERVER,
                    audience=audience,
                    audience_id=audience_id,
                    owner_id=ADA,
                    owner_name="ada",
                    name_key="bob",
                    created_at=datetime(2026, 11, 27, tzinfo=UTC),
                )
            )
    [archive] = await exported(database, ADA)
    told = json.loads(files_of([archive])["about-me.json"])
    shown = {row["audience"]: row["audience_id"] for row in told["shared_voices"]}
    assert shown == {"everyone": "the whole server", "role": str(ROLE), "member": "somebody else"}
    assert (await about(database, EVE))["shared_voices"][0]["audience_id"] == "you"
    assert set(VALUES) <= {column.name for kept in EXPORTED for column in kept.shown_columns()}
    readme = readme_of(archive)
    assert all(f"\n    {name}: " in readme for name in VALUES)


async def test_who_reported_a_person_and_what_is_not_decided_stay_unknown(
    database: Database,
) -> None:
    reports, audit = Reports(database), AuditLog(database)
    subject = Subject(HERE, HERE, message_id=5, voice_id=1, owner_id=ADA)
    report = await reports.file(ReportKind.REPORT, subject, EVE)
    audit.note(AuditAction.REPORTED, actor_id=EVE, guild_id=HERE, owner_id=ADA)
    await audit.written()

    assert set(await about(database, ADA)) == {"discord_id", "exported_at"}
    [made] = (await about(database, EVE))["reports"]
    assert (made["reporter_id"], made["owner_id"]) == ("you", "somebody else")
    assert [line["action"] for line in (await about(database, EVE))["log"]] == ["reported"]

    await reports.decide(report.id, ReportState.UPHELD, by=ZOE, where=HERE)
    told = await about(database, ADA)
    [decided] = told["reports"]
    assert (decided["state"], decided["owner_id"]) == ("upheld", "you")
    assert (decided["reporter_id"], decided["decided_by"]) == ("somebody else", "somebody else")
    assert "log" not in told


async def test_what_is_damaged_is_named_and_the_rest_is_there(database: Database) -> None:
    for name in ("Whole", "Broken"):
        await saves_voice(database, b"fLaC " + name.encode(), name)
    async with database.write() as session:
        damage = "UPDATE voices SET clip_flac = :clip, transcript = :words WHERE name = 'Broken'"
        await session.execute(text(damage), {"clip": b"00000000:x", "words": "nonsense"})

    archives = await exported(database, ADA)
    files = files_of(archives)
    whole, broken = json.loads(files["about-me.json"])["voices"]
    assert files[whole["clip_flac"]] == b"fLaC Whole"
    assert broken["clip_flac"] not in files
    assert broken["transcript"] is None
    readme = readme_of(archives[0])
    assert f"    {broken['clip_flac']}\n" in readme
    assert f"    {broken['clip_flac'].removesuffix('.flac')}: transcript\n" in readme
    assert whole["clip_flac"] not in readme


async def test_what_is_too_large_for_one_archive_is_in_several(database: Database) -> None:
    clips = {f"Voice {number}": bytes([number]) * 60_000 for number in range(5)}
    for name, clip in clips.items():
        await saves_voice(database, clip, name)

    archives = await exported(database, ADA, max_bytes=200_000)
    files = files_of(archives)
    assert [archive.name for archive in archives] == [
        f"about-me-{number}.zip" for number in range(1, len(archives) + 1)
    ]
    assert len(archives) == 3
    assert all(len(archive.data) <= 200_000 for archive in archives)
    assert "about-me.json" in files_of(archives[:1])
    assert "This is part 3." in readme_of(archives[2])
    voices = json.loads(files["about-me.json"])["voices"]
    assert {voice["name"]: files[voice["clip_flac"]] for voice in voices} == clips


async def test_a_long_log_goes_on_in_files_of_its_own(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "ROWS_PER_READ", 2)
    monkeypatch.setattr(export, "ROWS_PER_FILE", 4)
    audit = AuditLog(database)
    for voice in range(11):
        audit.note(AuditAction.SPOKE_FILE, actor_id=ADA, guild_id=HERE, voice_id=voice)
    await audit.written()

    files = files_of(await exported(database, ADA))
    told = json.loads(files["about-me.json"])
    assert told["log_continued_in"] == "log-2.json and following"
    lines = [*told["log"], *json.loads(files["log-2.json"]), *json.loads(files["log-3.json"])]
    assert [line["voice_id"] for line in lines] == list(range(11))
    assert set(files) == {"about-me.json", "log-2.json", "log-3.json"}


@pytest.mark.parametrize("name", ["../../etc/passwd", "C:\\x", 'a"b<c>|?*', "🎙️", "…" * 32, "."])
async def test_names_of_voices_are_safe_as_names_of_files(database: Database, name: str) -> None:
    await saves_voice(database, b"fLaC", name)

    files = files_of(await exported(database, ADA))
    [voice] = json.loads(files["about-me.json"])["voices"]
    assert voice["name"] == name
    folder, _, file = voice["clip_flac"].partition("/")
    assert (folder, files[voice["clip_flac"]]) == ("voices", b"fLaC")
    assert not set(file) & set('/\\:"<>|?*')
    assert file.endswith(".flac")
    assert len(file) < 60


async def test_a_person_gets_one_export_at_a_time(database: Database) -> None:
    await fill(database, ADA, EVE)
    exports = Exports(PersonalData(database))
    options: dict[str, Any] = {"max_bytes": 10**7, "on_file": lambda _number, _total: None}
    first = exports.archives(ADA, **options)
    async with aclosing(first):
        assert (await anext(first)).name == "about-me.zip"
        with pytest.raises(Refusal) as refused:
            await anext(exports.archives(ADA, **options))
        assert refused.value.reason is Reason.EXPORT_UNDER_WAY
        async with aclosing(exports.archives(EVE, **options)) as others:
            assert (await anext(others)).name == "about-me.zip"
    async with aclosing(exports.archives(ADA, **options)) as again:
        assert (await anext(again)).name == "about-me.zip", "the first has ended"


async def test_what_is_deleted_meanwhile_is_left_out(database: Database) -> None:
    await saves_voice(database, b"fLaC", "Gone")
    deleted = PersonalData(database)
    voices = next(kept for kept in EXPORTED if kept.title == "voices")
    [row] = await deleted.rows(voices, ADA, after=None, limit=5)
    async with database.write() as session:
        await session.execute(all_tables()["voices"].delete())
    assert await deleted.content(voices, ADA, row.key, "clip_flac") is None
    async with database.read() as session:
        assert (await session.scalars(select(all_tables()["voices"].c.id))).all() == []
