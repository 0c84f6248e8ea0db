"""A process that begins many works at once, as a bot does whose members all type a command.

`python -m tests.support.ledger_process DATABASE COUNT` opens the database, prints `READY`, and
waits for a line. Then it begins so many works, keeps what it gets, and prints as JSON how often it
was allowed to, and why it was not.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from typing import TYPE_CHECKING

from bot.errors import Refusal
from bot.guilds.access import Actor
from bot.guilds.ledger import Ledger
from bot.guilds.limits import Limits
from bot.guilds.records import WorkKind
from bot.storage.database import open_database

if TYPE_CHECKING:
    from collections.abc import Awaitable

SECONDS = 10.0
LIMITS = Limits(
    seconds_per_person=40,
    seconds_per_server=170,
    seconds_in_all=330,
    requests_per_minute=None,
    at_once_per_person=5,
    at_once_per_server=25,
    voice_channels=3,
)
PEOPLE, SERVERS, CHANNELS = 12, 2, 6
READY, BEGUN, ENTERED = "READY", "begun", "entered"


async def main(database_url: str, count: int) -> None:
    """Begin so many works, of a few people in two servers, and enter some voice channels."""
    database = await open_database(database_url)
    ledger = Ledger(database)
    print(READY, flush=True)  # noqa: T201 - the test waits for it
    await asyncio.to_thread(sys.stdin.readline)
    own_servers = range(1_000 * os.getpid(), 1_000 * os.getpid() + CHANNELS)
    outcomes = await asyncio.gather(
        *(_outcome(BEGUN, _begin(ledger, number)) for number in range(count)),
        *(_outcome(ENTERED, ledger.enter_channel(guild_id, LIMITS)) for guild_id in own_servers),
    )
    print(json.dumps(Counter(outcomes)), flush=True)  # noqa: T201 - the result
    await database.close()


def _begin(ledger: Ledger, number: int) -> Awaitable[object]:
    actor = Actor(number % PEOPLE + 1, number % SERVERS + 1)
    return ledger.begin(actor, WorkKind.REQUEST, SECONDS, LIMITS)


async def _outcome(allowed: str, call: Awaitable[object]) -> str:
    try:
        await call
    except Refusal as refusal:
        return refusal.reason.name
    return allowed


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
