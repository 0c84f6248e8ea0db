"""Limits hold over restarts, processes and days, and nobody pays for what wasn't made."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select

from bot.errors import Note, Reason, Refusal, Remark
from bot.guilds.access import Actor
from bot.guilds.counting import EVERYBODY
from bot.guilds.ledger import Ledger
from bot.guilds.limits import Limits, timestamp
from bot.guilds.records import Scope, ServerSettings, WorkKind
from bot.guilds.tables import UsageDayRow, WorkRow
from bot.guilds.usage import Usage
from tests.support import failing_databases
from tests.support.refusals import refused

if TYPE_CHECKING:
    from bot.guilds.ledger import Work
    from bot.storage.database import Database

GUILD, OTHER_GUILD = 998_765_432_109_876_543, 998_765_432_109_876_544
ANA = Actor(1_198_765_432_109_876_543, GUILD)
BEN = Actor(2**63 - 1, GUILD)
NO_LIMITS = Limits(**dict.fromkeys(Limits.__dataclass_fields__))


class Watch:
    """A clock that stands still until time passes."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def passes(self, **time: float) -> None:
        self.now += timedelta(**time)


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def ledger(database: Database, watch: Watch) -> Ledger:
    return Ledger(database, clock=watch)


@pytest.fixture
def usage(database: Database, watch: Watch) -> Usage:
    return Usage(database, clock=watch)


async def file(
    ledger: Ledger, seconds: float = 0.0, actor: Actor = ANA, **limits: int | None
) -> Work:
    return await ledger.begin(actor, WorkKind.REQUEST, seconds, replace(NO_LIMITS, **limits))


async def live(
    ledger: Ledger, seconds: float = 0.0, actor: Actor = ANA, **limits: int | None
) -> Work:
    return await ledger.begin(actor, WorkKind.LIVE, seconds, replace(NO_LIMITS, **limits))


async def renew(ledger: Ledger) -> None:
    renewed = ledger.renew()
    assert renewed is not None
    assert await renewed


async def end(work: Work, *, made: float = 0.0) -> None:
    work.made(made)
    ended = work.end()
    assert ended is not None
    assert await ended


async def makes(work: Work, seconds: float) -> None:
    """Make speech, and wait until more is reserved if that is needed."""
    work.made(seconds)
    if work._reserving is not None:
        await work._reserving


MIDNIGHT = timestamp(datetime(2026, 11, 28, tzinfo=UTC))


class TestSecondsOfADay:
    async def test_are_reserved_while_speech_is_made(self, ledger: Ledger) -> None:
        await file(ledger, 60, seconds_per_person=100)
        with refused(Reason.OWN_SPEECH_TOO_LITTLE, wanted=60, left=40, again=MIDNIGHT):
            await file(ledger, 60, seconds_per_person=100)
        await file(ledger, 40, seconds_per_person=100)
        with refused(Reason.OWN_SPEECH_USED_UP, again=MIDNIGHT):
            await file(ledger, 1, seconds_per_person=100)
        assert await file(ledger, 100, BEN, seconds_per_person=100)

    async def test_count_what_was_made_and_no_more(self, ledger: Ledger, usage: Usage) -> None:
        """What was reserved for speech that failed or was stopped is free again."""
        await end(await file(ledger, 60, seconds_per_person=100), made=12.5)
        used = await usage.today(Scope.PERSON, ANA.user_id)
        assert (used.seconds, used.requests) == (12.5, 1)
        assert await file(ledger, 87.5, seconds_per_person=100)

    async def test_of_a_server_and_of_everybody_are_limited_too(self, ledger: Ledger) -> None:
        await end(await file(ledger, 60), made=60)
        with refused(Reason.SERVER_SPEECH_TOO_LITTLE, wanted=41, left=40, again=MIDNIGHT):
            await file(ledger, 41, BEN, seconds_per_server=100)
        elsewhere = replace(BEN, guild_id=OTHER_GUILD)
        in_private = replace(BEN, guild_id=None)
        await end(await file(ledger, 30, elsewhere, seconds_per_server=100), made=30)
        await file(ledger, 5, in_private, seconds_per_server=0, seconds_in_all=100)
        with refused(Reason.ALL_SPEECH_TOO_LITTLE, wanted=6, left=5, again=MIDNIGHT):
            await file(ledger, 6, in_private, seconds_in_all=100)

    async def test_never_suffice_for_more_than_a_day_has(self, ledger: Ledger) -> None:
        with refused(Reason.LONGER_THAN_A_DAY, wanted=101, most=100):
            await file(ledger, 101, seconds_per_person=100)

    async def test_start_again_the_next_day(self, ledger: Ledger, watch: Watch) -> None:
        late = await file(ledger, 100, seconds_per_person=100)
        watch.passes(hours=13)
        await file(ledger, 100, seconds_per_person=100)
        await end(late, made=100)
        with refused(Reason.OWN_SPEECH_USED_UP, again=MIDNIGHT + 86_400):
            await file(ledger, 1, seconds_per_person=100)

    async def test_survive_a_restart(
        self, database: Database, ledger: Ledger, watch: Watch
    ) -> None:
        await end(await file(ledger, 60), made=60)
        restarted = Ledger(database, clock=watch)
        with refused(Reason.OWN_SPEECH_TOO_LITTLE, wanted=41, left=40, again=MIDNIGHT):
            await file(restarted, 41, seconds_per_person=100)

    async def test_are_kept_for_a_month_but_not_whose_they_were(
        self, database: Database, ledger: Ledger, watch: Watch
    ) -> None:
        kept = []
        for days in (1, 1, 34, 1):
            await end(await file(ledger))
            async with database.read() as session:
                rows = (await session.scalars(select(UsageDayRow))).all()
                kept.append(Counter(row.scope for row in rows))
            watch.passes(days=days)
        assert [each[Scope.PERSON] for each in kept] == [1, 2, 2, 1]
        assert [each[Scope.SERVER] for each in kept] == [1, 2, 3, 3]


class TestAProcessThatWasKilled:
    async def test_has_used_what_it_had_counted(
        self, database: Database, ledger: Ledger, usage: Usage, watch: Watch
    ) -> None:
        killed = Ledger(database, clock=watch)
        work = await file(killed, 60)
        work.made(25)
        await renew(killed)
        watch.passes(seconds=61)
        with refused(Reason.OWN_SPEECH_TOO_LITTLE, wanted=76, left=75, again=MIDNIGHT):
            await file(ledger, 76, seconds_per_person=100)
        await file(ledger, 75, seconds_per_person=100, at_once_per_person=1)
        assert (await usage.today(Scope.PERSON, ANA.user_id)).seconds == 25

    async def test_is_not_one_that_renews(self, ledger: Ledger, watch: Watch) -> None:
        await file(ledger, 60)
        for _ in range(5):
            watch.passes(seconds=40)
            await renew(ledger)
        with refused(Reason.TOO_MANY_COMMANDS, count=1):
            await file(ledger, at_once_per_person=1)

    async def test_that_was_only_slow_counts_again(
        self, database: Database, ledger: Ledger, usage: Usage, watch: Watch
    ) -> None:
        slow = Ledger(database, clock=watch)
        work = await file(slow, 60)
        watch.passes(seconds=61)
        await end(await file(ledger))
        work.made(10)
        await renew(slow)
        with refused(Reason.TOO_MANY_COMMANDS, count=1):
            await file(ledger, at_once_per_person=1)
        await end(work, made=5)
        assert (await usage.today(Scope.PERSON, ANA.user_id)).seconds == 15

    async def test_that_was_dropped_and_ends_has_used_all_that_it_made(
        self, database: Database, ledger: Ledger, usage: Usage, watch: Watch
    ) -> None:
        slow = Ledger(database, clock=watch)
        work = await file(slow, 60)
        work.made(10)
        await renew(slow)
        watch.passes(seconds=61)
        await end(await file(ledger))
        await end(work, made=5)
        assert (await usage.today(Scope.PERSON, ANA.user_id)).seconds == 15

    async def test_its_own_works_are_not_dropped_while_the_database_was_locked(
        self, ledger: Ledger, watch: Watch
    ) -> None:
        await file(ledger)
        watch.passes(seconds=61)
        with refused(Reason.TOO_MANY_COMMANDS, count=1):
            await file(ledger, at_once_per_person=1)

    async def test_is_dropped_although_the_clock_was_put_back(
        self, database: Database, ledger: Ledger, watch: Watch
    ) -> None:
        await file(Ledger(database, clock=watch))
        watch.passes(hours=-2)
        with refused(Reason.TOO_MANY_COMMANDS, count=1):
            await file(ledger, at_once_per_person=1)
        await end(await file(ledger))
        watch.passes(seconds=61)
        assert await file(ledger, at_once_per_person=1)

    async def test_leaves_its_voice_channels(
        self, database: Database, ledger: Ledger, watch: Watch
    ) -> None:
        killed = Ledger(database, clock=watch)
        one = replace(NO_LIMITS, voice_channels=1)
        await killed.enter_channel(GUILD, one)
        with refused(Reason.TOO_MANY_CHANNELS, count=1):
            await ledger.enter_channel(OTHER_GUILD, one)
        watch.passes(seconds=61)
        channel = await ledger.enter_channel(OTHER_GUILD, one)
        await end(channel)
        await end(await ledger.enter_channel(GUILD, one))

    async def test_and_its_successor_are_in_a_servers_channel_once(
        self, database: Database, ledger: Ledger, watch: Watch
    ) -> None:
        two = replace(NO_LIMITS, voice_channels=2)
        await Ledger(database, clock=watch).enter_channel(GUILD, two)
        await ledger.enter_channel(GUILD, two)
        assert await ledger.enter_channel(OTHER_GUILD, two)


class TestAtOnce:
    async def test_a_person_and_a_server_have_so_many(self, ledger: Ledger) -> None:
        works = [await file(ledger, at_once_per_person=2) for _ in range(2)]
        with refused(Reason.TOO_MANY_COMMANDS, count=2):
            await file(ledger, at_once_per_person=2)
        await file(ledger, actor=BEN, at_once_per_person=2, at_once_per_server=3)
        with refused(Reason.SERVER_BUSY, count=3):
            await file(ledger, actor=BEN, at_once_per_server=3)
        assert await file(ledger, actor=replace(BEN, guild_id=None), at_once_per_server=0)
        await end(works[0])
        assert await file(ledger, at_once_per_person=2, at_once_per_server=3)

    async def test_live_speech_of_a_server_is_one(self, ledger: Ledger) -> None:
        few: dict[str, Any] = {"at_once_per_person": 2, "at_once_per_server": 2}
        for actor in (ANA, ANA, ANA, BEN):
            await live(ledger, 1, actor, **few)
        await file(ledger, **few)
        await live(ledger, **few)
        with refused(Reason.TOO_MANY_COMMANDS, count=2):
            await file(ledger, **few)
        with refused(Reason.SERVER_BUSY, count=2):
            await file(ledger, actor=BEN, **few)
        with refused(Reason.TOO_MANY_COMMANDS, count=2):
            await live(ledger, actor=replace(ANA, guild_id=OTHER_GUILD), **few)

    async def test_a_work_ends_once(self, ledger: Ledger, usage: Usage) -> None:
        work = await file(ledger, 10)
        await end(work, made=10)
        assert work.end() is None
        assert (await usage.today(Scope.ALL, EVERYBODY)).seconds == 10

    async def test_whoever_gives_up_while_it_begins_keeps_no_slot(
        self, database: Database, ledger: Ledger, watch: Watch
    ) -> None:
        beginning = asyncio.create_task(file(ledger, 60))
        await asyncio.sleep(0)
        beginning.cancel()
        await asyncio.gather(beginning, return_exceptions=True)
        await asyncio.gather(*database._under_way)
        assert ledger.renew() is None, "nobody would ever end it"
        watch.passes(seconds=61)
        assert await file(ledger, 100, at_once_per_person=1, seconds_per_person=100)


async def test_a_minute_has_so_many_requests(ledger: Ledger, watch: Watch) -> None:
    first = timestamp(watch.now)
    for _ in range(3):
        await end(await file(ledger, requests_per_minute=3))
        watch.passes(seconds=10)
    with refused(Reason.TOO_MANY_REQUESTS, limit=3, again=first + 60):
        await file(ledger, requests_per_minute=3)
    with refused(Reason.TOO_MANY_REQUESTS, limit=1, again=first + 80):
        await file(ledger, requests_per_minute=1)
    assert await file(ledger, actor=BEN, requests_per_minute=3)
    watch.passes(seconds=30)
    assert await file(ledger, requests_per_minute=3)


class TestSpeechThatIsLongerThanExpected:
    async def test_reserves_more_while_there_is_some(self, ledger: Ledger) -> None:
        work = await file(ledger, 10, seconds_per_person=100)
        await makes(work, 20)
        with refused(Reason.OWN_SPEECH_TOO_LITTLE, wanted=60, left=50, again=MIDNIGHT):
            await file(ledger, 60, seconds_per_person=100)

    @pytest.mark.parametrize(
        ("limit", "reason"),
        [
            ("seconds_per_person", Reason.OWN_SPEECH_USED_UP),
            ("seconds_per_server", Reason.SERVER_SPEECH_USED_UP),
            ("seconds_in_all", Reason.ALL_SPEECH_USED_UP),
        ],
    )
    async def test_ends_where_a_limit_is_reached(
        self, ledger: Ledger, usage: Usage, limit: str, reason: Reason
    ) -> None:
        limits: dict[str, Any] = {limit: 100}
        work = await file(ledger, 10, **limits)
        await file(ledger, 60, **limits)
        with refused(reason, again=MIDNIGHT):
            for _ in range(100):
                await makes(work, 4)
        assert work.seconds <= 40 + 8
        ended = work.end()
        assert ended is not None
        assert await ended
        assert (await usage.today(Scope.PERSON, ANA.user_id)).seconds == work.seconds

    async def test_may_be_somewhat_longer_at_any_limit(self, ledger: Ledger) -> None:
        work = await file(ledger, 100, seconds_per_person=100)
        for _ in range(7):
            await makes(work, 20)

    async def test_goes_on_while_the_database_fails(
        self, ledger: Ledger, database: Database, sqlite_url: str
    ) -> None:
        if not database._is_sqlite:
            pytest.skip("how a database fails is tested elsewhere")
        work = await file(ledger, 1, seconds_per_person=2)
        async with failing_databases.read_only(sqlite_url):
            for _ in range(3):
                await makes(work, 10)
        await makes(work, 10)
        with refused(Reason.OWN_SPEECH_USED_UP, again=MIDNIGHT):
            work.made(1)


class TestLittleLeft:
    async def test_is_told_once_a_day(
        self, database: Database, ledger: Ledger, watch: Watch
    ) -> None:
        work = await file(ledger, 100, seconds_per_person=100)
        work.made(79)
        assert await work.little_left() is None
        work.made(1)
        note = Note(Remark.LITTLE_SPEECH_LEFT, {"left": 20, "again": MIDNIGHT})
        assert await work.little_left() == note
        await end(work)
        again = await file(Ledger(database, clock=watch), 5, seconds_per_person=100)
        assert await again.little_left() is None
        watch.passes(days=1)
        tomorrow = await file(ledger, 90, seconds_per_person=100)
        tomorrow.made(90)
        assert await tomorrow.little_left() is not None

    async def test_is_never_told_without_a_limit(self, ledger: Ledger) -> None:
        work = await file(ledger, 1e6)
        work.made(1e6)
        assert await work.little_left() is None


async def test_nothing_begins_if_the_database_cannot_be_written(
    ledger: Ledger, database: Database, sqlite_url: str
) -> None:
    if not database._is_sqlite:
        pytest.skip("how a database fails is tested elsewhere")
    async with failing_databases.read_only(sqlite_url):
        with pytest.raises(Refusal) as refusal:
            await file(ledger)
    assert refusal.value.reason is Reason.DATABASE_NOT_WRITTEN
    async with database.read() as session:
        assert await session.scalar(select(func.count()).select_from(WorkRow)) == 0


async def test_the_servers_that_used_most_come_first(ledger: Ledger, usage: Usage) -> None:
    await end(await file(ledger, 10), made=10)
    await end(await file(ledger, 10, replace(BEN, guild_id=OTHER_GUILD)), made=20)
    await end(await file(ledger, 10, replace(BEN, guild_id=None)), made=30)
    top = await usage.top_servers(5)
    assert [(each.scope_id, each.seconds) for each in top] == [(OTHER_GUILD, 20), (GUILD, 10)]
    assert await usage.top_servers(1) == top[:1]


@pytest.mark.parametrize(
    ("operators", "servers", "holds"),
    [(600, 60, 60), (60, 600, 60), (None, 60, 60), (60, None, 60)],
)
def test_a_server_can_only_lower_limits(
    operators: int | None, servers: int | None, holds: int
) -> None:
    limits = Limits(seconds_per_person=operators, voice_channels=3)
    lowered = limits.lowered_by(ServerSettings(seconds_per_person=servers))
    assert lowered == replace(limits, seconds_per_person=holds)
