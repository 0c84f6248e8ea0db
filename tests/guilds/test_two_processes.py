"""Two processes with one PostgreSQL keep every limit together."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import func, select

from bot.guilds.records import WorkKind
from bot.guilds.tables import UsageDayRow, WorkRow
from bot.storage.database import open_database
from tests.support.ledger_process import BEGUN, ENTERED, LIMITS, READY, SECONDS

if TYPE_CHECKING:
    from asyncio.subprocess import Process

pytestmark = pytest.mark.slow

BEGINS_OF_EACH = 100


async def start(database_url: str) -> Process:
    arguments = ("-m", "tests.support.ledger_process", database_url, str(BEGINS_OF_EACH))
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(sys.executable, *arguments, stdin=pipe, stdout=pipe)


async def answer_of(process: Process) -> str:
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().strip()


async def test_200_commands_at_once_get_what_the_limits_allow_and_no_more(
    postgres_url: str,
) -> None:
    processes = [await start(postgres_url) for _ in range(2)]
    for process in processes:
        assert await answer_of(process) == READY
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"\n")
    outcomes = Counter[str]()
    for process in processes:
        outcomes.update(json.loads(await answer_of(process)))
        assert await process.wait() == 0

    assert LIMITS.seconds_in_all is not None
    assert outcomes[BEGUN] == LIMITS.seconds_in_all / SECONDS
    assert outcomes[ENTERED] == LIMITS.voice_channels
    database = await open_database(postgres_url)
    async with database.read() as session:
        of_person = select(func.sum(WorkRow.seconds)).where(WorkRow.kind == WorkKind.REQUEST)
        people = (await session.scalars(of_person.group_by(WorkRow.user_id))).all()
        servers = (await session.scalars(of_person.group_by(WorkRow.guild_id))).all()
        requests = await session.scalar(select(func.max(UsageDayRow.requests)))
    await database.close()
    assert max(people) <= (LIMITS.seconds_per_person or 0)
    assert max(servers) <= (LIMITS.seconds_per_server or 0)
    assert requests == outcomes[BEGUN]
