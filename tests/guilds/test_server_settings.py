"""What a server's admins decide is kept, also if several decide at the same time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from bot.errors import Reason, Refusal
from bot.guilds.records import ServerSettings
from bot.guilds.server_settings import SettingsOfServers
from bot.storage.database import open_database
from tests.support.refusals import refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SERVER, ANOTHER = 998_765_432_109_876_543, 2**63 - 1
ROLES = frozenset({1_198_765_432_109_876_543, 7})


@pytest.fixture
async def kept(database_url: str) -> AsyncIterator[SettingsOfServers]:
    database = await open_database(database_url)
    yield SettingsOfServers(database)
    await database.close()


async def test_a_change_is_of_one_server(kept: SettingsOfServers) -> None:
    decided = ServerSettings(
        report_channel_id=ANOTHER,
        audit_channel_id=SERVER,
        clone_roles=ROLES,
        speak_roles=ROLES,
        channels=ROLES,
        voice_channels=frozenset({ANOTHER}),
        seconds_per_person=60,
        seconds_per_server=5_999_940,
        requests_per_minute=1,
        at_once_per_person=2,
        at_once_per_server=3,
    )
    assert await kept.change(SERVER, lambda _before: decided) == decided
    assert await kept.of(SERVER) == decided
    assert await kept.of(ANOTHER) == ServerSettings()
    await kept.change(SERVER, lambda _before: ServerSettings())
    assert await kept.of(SERVER) == ServerSettings()


async def test_changes_at_the_same_time_are_all_kept(kept: SettingsOfServers) -> None:
    fields = ("clone_roles", "speak_roles", "channels", "voice_channels")

    async def change(name: str) -> None:
        changed: dict[str, Any] = {name: ROLES}
        await kept.change(SERVER, lambda before: replace(before, **changed))

    await asyncio.gather(*map(change, fields))
    decided = await kept.of(SERVER)
    assert [getattr(decided, name) for name in fields] == [ROLES] * len(fields)


async def test_a_change_that_is_refused_changes_nothing(kept: SettingsOfServers) -> None:
    def refuse(_before: ServerSettings) -> ServerSettings:
        raise Refusal(Reason.CHOICE_GONE)

    with refused(Reason.CHOICE_GONE):
        await kept.change(SERVER, refuse)
    assert await kept.of(SERVER) == ServerSettings()
