"""Keys of the HTTP API are stored so that nobody who reads the database can use them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select

from bot.guilds.api_keys import PREFIX, ApiKeys, hash_of
from bot.guilds.tables import ApiKeyRow

if TYPE_CHECKING:
    from bot.storage.database import Database
    from tests.support.databases import Clock

ANA, BEN = 1_198_765_432_109_876_543, 2**63 - 1


async def test_a_key_is_shown_once_and_stored_as_a_hash(database: Database) -> None:
    keys = ApiKeys(database)
    assert not await keys.any()
    key, stored = await keys.create(ANA, "laptop")
    other, _ = await keys.create(ANA)
    assert key.startswith(PREFIX)
    assert len(key) > len(PREFIX) + 40
    assert key != other
    async with database.read() as session:
        columns = ApiKeyRow.__table__.c
        row = (await session.execute(select(*columns).where(columns.id == stored.id))).one()
    assert row.key_hash == hash_of(key)
    assert not any(key in str(value) for value in row)
    assert await keys.any()
    assert await keys.find(key) == stored
    assert (stored.user_id, stored.name, stored.last_used_at) == (ANA, "laptop", None)
    for wrong in ("", PREFIX, key[:-1], key + "x", key.removeprefix(PREFIX), hash_of(key)):
        assert await keys.find(wrong) is None


async def test_a_key_ends_with_its_revocation_and_with_its_person(database: Database) -> None:
    keys = ApiKeys(database)
    key, stored = await keys.create(ANA)
    bens, _ = await keys.create(BEN)
    assert await keys.revoke(stored.id) == stored
    assert await keys.revoke(stored.id) is None
    assert await keys.find(key) is None
    assert [each.user_id for each in await keys.all()] == [BEN]
    assert await keys.all(ANA) == []
    _, newer = await keys.create(ANA)
    assert newer.id > stored.id + 1, "a number is not given again"
    assert await keys.keeps_anything_about(BEN)
    assert await keys.forget(BEN)
    assert not await keys.forget(BEN)
    assert not await keys.keeps_anything_about(BEN)
    assert await keys.find(bens) is None


async def test_its_use_is_noted_once_a_minute(database: Database, clock: Clock) -> None:
    keys = ApiKeys(database, clock=clock)
    key, _ = await keys.create(ANA)
    times = []
    for wait in (0, 5, 120):
        clock.now += timedelta(seconds=wait)
        await keys.find(key)
        await keys.written()
        times.append((await keys.all())[0].last_used_at)
    assert times[0] == times[1]
    assert times[2] is not None
    assert times[0] is not None
    assert times[2] > times[0]
