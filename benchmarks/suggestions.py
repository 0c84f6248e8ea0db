"""How long the voices take that Discord shows while somebody types, among ten thousand.

    python -m benchmarks.suggestions [--voices 10000] [--database postgresql://…]

One server has so many voices that are shared with everyone, and one person has as many of their
own. Each request searches for a part of a name, of which few, many or no voices have some. What is
measured is a whole request, as `/say` makes it, without Discord: alone, and 50 people at once. To
compare with, the same names are read and searched in Python, as earlier versions did; both in one
run, so that their ratio says more than the times do.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from sqlalchemy import insert, select

from bot.guilds.access import Actor
from bot.guilds.policy import Policy
from bot.storage.database import Database, open_database
from bot.storage.engines import CONNECTIONS
from bot.voice_access import VoiceAccess
from bot.voices.library import VoiceLibrary
from bot.voices.names import name_key
from bot.voices.queries import RECENT_FIRST
from bot.voices.tables import ConsentRow, ShareRow, VoiceRow

GUILD, OWNER, PEOPLE = 7_000, 1_000_000, 2_000_000
TYPED = ("", "a", "voice", "9", "voice 99", "ice 1", "nobody")
ROUNDS, AT_ONCE = 30, 50
ADJECTIVES = ("calm", "bright", "old", "Amber", "quick", "deep", "gentle", "Zany")
CLIP = bytes(40_000)

Search = Callable[[int, str], Awaitable[object]]


async def fill(database: Database, voices: int) -> None:
    """Store the voices that are shared, each of another owner, and as many of one person."""
    now = datetime.now(UTC)
    for owner_of in (lambda number: OWNER + number, lambda _number: PEOPLE):
        for first in range(0, voices, 500):
            numbers = range(first, min(first + 500, voices))
            async with database.write() as session:
                consent = {"user_id": PEOPLE, "statement_version": "2026-11", "attested_at": now}
                row = await session.execute(insert(ConsentRow).returning(ConsentRow.id), consent)
                consent_id = row.scalar_one()
                names = [f"{ADJECTIVES[n % len(ADJECTIVES)]} voice {n}" for n in numbers]
                added = await session.scalars(
                    insert(VoiceRow).returning(VoiceRow.id, sort_by_parameter_order=True),
                    [
                        {
                            "owner_id": owner_of(number),
                            "name": name,
                            "name_key": name_key(name),
                            "clip_seconds": 12.0,
                            "consent_id": consent_id,
                            "created_at": now,
                            "clip_flac": CLIP,
                        }
                        for number, name in zip(numbers, names, strict=True)
                    ],
                )
                ids = added.all()
                if owner_of(0) == PEOPLE:
                    continue
                shares = [
                    {
                        "voice_id": voice_id,
                        "guild_id": GUILD,
                        "audience_id": GUILD,
                        "audience": "everyone",
                        "owner_id": owner_of(number),
                        "owner_name": f"person{number}",
                        "name_key": name_key(name),
                        "created_at": now,
                    }
                    for number, name, voice_id in zip(numbers, names, ids, strict=True)
                ]
                await session.execute(insert(ShareRow), shares)


async def in_python(
    database: Database, turn: asyncio.Semaphore, person: int, typed: str
) -> list[str]:
    """Read all names of a person, and search them here, as earlier versions did."""
    query = select(VoiceRow.name, VoiceRow.name_key).where(VoiceRow.owner_id == person)
    async with turn, database.read() as session:
        named = (await session.execute(query.order_by(*RECENT_FIRST))).all()
    part = name_key(typed)
    beginning = [name for name, key in named if key.startswith(part)]
    containing = [name for name, key in named if part in key and not key.startswith(part)]
    return (beginning + containing)[:25]


async def measure(what: str, search: Search, person_of: Callable[[int], int]) -> None:
    """Print how long requests take, one by one, and 50 at once."""
    alone = []
    for number in range(ROUNDS * len(TYPED)):
        begun = time.perf_counter()
        await search(person_of(0), TYPED[number % len(TYPED)])
        alone.append(time.perf_counter() - begun)
    rounds = []
    for number in range(5):
        begun = time.perf_counter()
        calls = (search(person_of(n), TYPED[(number + n) % len(TYPED)]) for n in range(AT_ONCE))
        await asyncio.gather(*calls)
        rounds.append(time.perf_counter() - begun)
    alone.sort()
    say(
        f"{what:<44} median {statistics.median(alone) * 1e3:6.1f} ms, "
        f"p99 {alone[int(0.99 * len(alone))] * 1e3:6.1f} ms; "
        f"{AT_ONCE} at once {statistics.median(rounds) * 1e3:7.0f} ms"
    )


async def run(url: str, voices: int) -> None:
    """Fill a database, and measure."""
    database = await open_database(url)
    try:
        await fill(database, voices)
        access = VoiceAccess(Policy(database), VoiceLibrary(database))

        async def suggest(person: int, typed: str) -> object:
            return await access.suggest(Actor(person, GUILD), typed)

        say(f"{voices} voices, {url.partition(':')[0]}")
        await measure(
            "one's own, searched in Python",
            partial(in_python, database, asyncio.Semaphore(CONNECTIONS)),
            lambda _: PEOPLE,
        )
        await measure("one's own", suggest, lambda _: PEOPLE)
        await measure("others', who have none of their own", suggest, lambda n: PEOPLE + 1 + n)
    finally:
        await database.close()


def main() -> None:
    """Read the command line, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--voices", type=int, default=10_000)
    parser.add_argument("--database", help="an empty one; by default a new SQLite file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = options.database or f"sqlite:///{Path(folder) / 'voices.db'}"
        asyncio.run(run(url, options.voices))


def say(line: str) -> None:
    """Print a line."""
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main()
