"""The audit log: what is found in it, what is forgotten, and that it holds no texts."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from bot.guilds.audit import AuditLog
from bot.guilds.records import AuditAction
from bot.guilds.tables import AuditRow, SecretRow
from bot.storage.database import open_database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncSession

    from bot.storage.database import Database
    from tests.support.databases import Clock

ANA, BEN, ADMIN = 1_198_765_432_109_876_543, 2**63 - 1, 77
HERE, THERE = 998_765_432_109_876_543, 998_765_432_109_876_544


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await open_database(database_url)
    yield database
    await database.close()


@pytest.fixture
def audit(database: Database, clock: Clock) -> AuditLog:
    return AuditLog(database, clock=clock)


def speaks(
    audit: AuditLog, person: int, *, voice: int = 1, text: str = "Hi.", guild: int | None = HERE
) -> None:
    audit.note(
        AuditAction.SPOKE_FILE,
        actor_id=person,
        guild_id=guild,
        voice_id=voice,
        owner_id=person,
        text=text,
    )


async def test_a_page_is_one_servers_and_begins_with_the_latest(audit: AuditLog) -> None:
    for voice in range(1, 13):
        speaks(audit, ANA, voice=voice)
    speaks(audit, ANA, guild=THERE)
    speaks(audit, ANA, guild=None)
    await audit.written()

    page = await audit.page(HERE, offset=10, limit=10)
    assert page.total == 12
    assert [entry.voice_id for entry in page.entries] == [2, 1]


async def test_what_somebody_did_and_what_was_done_about_them(audit: AuditLog) -> None:
    speaks(audit, ANA)
    speaks(audit, BEN)
    audit.note(AuditAction.BLOCKED, actor_id=ADMIN, guild_id=HERE, owner_id=BEN)
    await audit.written()

    page = await audit.page(HERE, user_id=BEN)
    assert [entry.action for entry in page.entries] == ["blocked", "spoke_file"]


async def test_a_text_is_recognised_and_not_kept(audit: AuditLog, database: Database) -> None:
    assert (await audit.page(HERE, text="Hello there.")).total == 0  # there is no key yet
    speaks(audit, ANA, text="Hello  there.")
    speaks(audit, BEN, text="Something else.")
    await audit.written()

    page = await audit.page(HERE, text="hello\nTHERE. ")
    assert [entry.actor_id for entry in page.entries] == [ANA]
    assert (await audit.page(HERE, text="Hello")).total == 0
    async with database.read() as session:
        key = await session.get_one(SecretRow, "texts")
        assert len(key.value) == 32
        rows = (await session.scalars(select(AuditRow))).all()
        assert all(len(row.text_hash or "") == 32 for row in rows)
        assert len({row.text_hash for row in rows}) == 2


async def test_voices_of_a_server_by_their_last_use(audit: AuditLog, clock: Clock) -> None:
    speaks(audit, ANA, voice=1)
    speaks(audit, ANA, voice=2)
    speaks(audit, BEN, voice=3)
    speaks(audit, ANA, voice=1)
    speaks(audit, BEN, voice=4, guild=THERE)
    audit.note(AuditAction.CLONED, actor_id=BEN, guild_id=HERE, owner_id=BEN)  # without a name
    audit.note(AuditAction.REMOVED, actor_id=ADMIN, guild_id=HERE, voice_id=9, owner_id=BEN)
    await audit.written()

    page = await audit.voices_in(HERE, limit=2)
    assert page.total == 3
    assert [(use.voice_id, use.owner_id, use.uses) for use in page.voices] == [
        (1, ANA, 2),
        (3, BEN, 1),
    ]
    assert page.voices[0].last_at == clock.now - timedelta(seconds=3)
    theirs = await audit.voices_in(HERE, owner_id=BEN, limit=9)
    assert [use.voice_id for use in theirs.voices] == [3]
    assert await audit.use_of(HERE, 1) == page.voices[0]
    assert await audit.use_of(HERE, 4) is None
    assert await audit.use_of(HERE, 9) is None


async def test_who_is_forgotten_is_in_no_line_of_their_own(audit: AuditLog) -> None:
    speaks(audit, BEN, text="Mine.")
    speaks(audit, ANA)
    audit.note(AuditAction.BLOCKED, actor_id=ADMIN, guild_id=HERE, owner_id=BEN)
    audit.note(AuditAction.REPORTED, actor_id=BEN, guild_id=HERE, owner_id=ANA)
    await audit.written()
    speaks(audit, BEN)  # it is not written yet

    assert await audit.keeps_anything_about(BEN)
    assert await audit.forget(BEN)
    await audit.written()
    assert not await audit.keeps_anything_about(BEN)
    assert not await audit.forget(BEN)
    assert (await audit.page(HERE)).total == 5
    assert (await audit.page(HERE, text="Mine.")).total == 0
    left = await audit.page(HERE, user_id=BEN)
    assert [entry.action for entry in left.entries] == ["blocked"], "not what they reported"
    assert (await audit.page(HERE, user_id=ANA)).total == 2


async def test_forgetting_is_told_even_if_it_was_done_in_the_background(
    audit: AuditLog, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    erase = database.erase

    @asynccontextmanager
    async def late() -> AsyncIterator[AsyncSession]:
        await database.written()
        async with erase() as session:
            yield session

    monkeypatch.setattr(database, "erase", late)
    speaks(audit, BEN)
    assert await audit.forget(BEN)
    assert not await audit.forget(BEN)


async def test_old_lines_go_and_ids_are_not_used_again(audit: AuditLog, clock: Clock) -> None:
    speaks(audit, ANA)
    old = clock.now
    speaks(audit, BEN)
    await audit.written()
    last_id = await audit.last_id()
    await audit.drop_before(old + timedelta(milliseconds=1))
    assert [entry.actor_id for entry in await audit.after(0, limit=9)] == [BEN]

    await audit.drop_before(clock.now + timedelta(days=1))
    assert await audit.last_id() == 0
    speaks(audit, ANA)
    await audit.written()
    assert await audit.last_id() > last_id


async def test_entries_are_read_on_by_server_and_time(audit: AuditLog, clock: Clock) -> None:
    speaks(audit, ANA, voice=1)
    speaks(audit, ANA, voice=2, guild=THERE)
    later = clock.now
    speaks(audit, ANA, voice=3)
    await audit.written()

    first, *_ = await audit.after(0, limit=1)
    assert first.voice_id == 1
    following = await audit.after(first.id, limit=9)
    assert [entry.voice_id for entry in following] == [2, 3]
    assert [entry.voice_id for entry in await audit.after(0, guild_id=HERE, limit=9)] == [1, 3]
    assert [entry.voice_id for entry in await audit.after(0, since=later, limit=9)] == [2, 3]
