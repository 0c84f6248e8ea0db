"""Begins, counts, ends, crashes and clock moves in any order never exceed a limit."""

from __future__ import annotations

import asyncio
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import delete, select

from bot.errors import Refusal
from bot.guilds.access import Actor
from bot.guilds.ledger import Ledger, Work
from bot.guilds.limits import Limits
from bot.guilds.records import Scope, WorkKind
from bot.guilds.tables import RequestRow, UsageDayRow, WorkRow
from bot.storage.database import open_database
from tests.guilds.test_ledger import Watch

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from bot.storage.database import Database

T = TypeVar("T")

LIMITS = Limits(
    seconds_per_person=60,
    seconds_per_server=90,
    seconds_in_all=120,
    requests_per_minute=4,
    at_once_per_person=2,
    at_once_per_server=3,
)
ACTORS = [Actor(person, guild) for person in (1, 2, 3) for guild in (7, 8, None)]
PROCESSES = 2

actors = st.sampled_from(ACTORS)
processes = st.integers(0, PROCESSES - 1)
places = st.integers(0, 100)
"""Which of the works that are open."""


class Budget(RuleBasedStateMachine):
    """Two processes with one database; `made` is what was really made, by whom and when."""

    runner: asyncio.Runner
    database: Database

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(call)

    @initialize()
    def start(self) -> None:
        self.run(self._empty())
        self.watch = Watch()
        self.ledgers = [Ledger(self.database, clock=self.watch) for _ in range(PROCESSES)]
        self.open: list[tuple[int, Work]] = []
        self.requests: list[tuple[int, datetime]] = []
        self.made: dict[tuple[Scope, int, date], float] = {}
        self.has_crashed = False

    async def _empty(self) -> None:
        async with self.database.write() as session:
            for table in (UsageDayRow, RequestRow, WorkRow):
                await session.execute(delete(table))

    @rule(process=processes, actor=actors, is_live=st.booleans(), seconds=st.integers(0, 70))
    def begin(self, process: int, actor: Actor, *, is_live: bool, seconds: int) -> None:
        kind = WorkKind.LIVE if is_live and actor.guild_id else WorkKind.REQUEST
        try:
            work = self.run(self.ledgers[process].begin(actor, kind, seconds, LIMITS))
        except Refusal:
            return
        self.open.append((process, work))
        self.requests.append((actor.user_id, self.watch.now))

    @rule(place=places, share=st.floats(0, 1))
    def make(self, place: int, share: float) -> None:
        """Make a part of what is reserved and not made yet."""
        if self.open:
            _, work = self.open[place % len(self.open)]
            seconds = share * (work.reserved - work.seconds)
            work.made(seconds)
            for key in work.usage_keys:
                self.made[key] = self.made.get(key, 0.0) + seconds

    @rule(place=places)
    def end(self, place: int) -> None:
        if self.open:
            _, work = self.open.pop(place % len(self.open))
            self.run(self._end(work))

    async def _end(self, work: Work) -> None:
        ended = work.end()
        assert ended is not None
        assert await ended

    @rule(process=processes)
    def crash(self, process: int) -> None:
        """The process ends without a word, and a new one starts."""
        self.ledgers[process] = Ledger(self.database, clock=self.watch)
        self.open = [each for each in self.open if each[0] != process]
        self.has_crashed = True

    @rule(seconds=st.sampled_from([1, 20, 70, 7_200, 86_400]))
    def time_passes(self, seconds: int) -> None:
        """Every process that runs renews what it does."""
        self.watch.passes(seconds=seconds)
        for ledger in self.ledgers:
            self.run(self._renewed(ledger))

    async def _renewed(self, ledger: Ledger) -> None:
        renewed = ledger.renew()
        assert renewed is None or await renewed

    @rule(seconds=st.sampled_from([1, 100, 43_200, 90_000]))
    def the_clock_is_put_back(self, seconds: int) -> None:
        """What was asked for at times that are now to come is no guide to what follows."""
        self.watch.passes(seconds=-seconds)
        self.requests = []

    @invariant()
    def no_day_has_more_than_its_limit_or_than_was_made(self) -> None:
        most = {
            Scope.PERSON: LIMITS.seconds_per_person,
            Scope.SERVER: LIMITS.seconds_per_server,
            Scope.ALL: LIMITS.seconds_in_all,
        }
        for key, seconds in self.made.items():
            limit = most[key[0]]
            assert limit is not None
            assert seconds <= limit + 1e-6
        for usage in self.run(self._usage()):
            key = (Scope(usage.scope), usage.scope_id, usage.day)
            assert usage.seconds <= self.made.get(key, 0.0) + 1e-6

    async def _usage(self) -> list[UsageDayRow]:
        async with self.database.read() as session:
            rows = list((await session.scalars(select(UsageDayRow))).all())
            session.expunge_all()
            return rows

    @invariant()
    def nobody_does_too_much_at_once(self) -> None:
        for person in (1, 2, 3):
            assert self._at_once(lambda work, who=person: work.user_id == who) <= 2
        for guild in (7, 8):
            assert self._at_once(lambda work, where=guild: work.guild_id == where) <= 3

    def _at_once(self, counts: Any) -> int:
        works = [work for _, work in self.open if counts(work)]
        servers = {work.guild_id for work in works if work.kind is WorkKind.LIVE}
        return sum(work.kind is WorkKind.REQUEST for work in works) + len(servers)

    @invariant()
    def nobody_asks_too_often(self) -> None:
        for person, at in self.requests:
            minute = [
                when
                for who, when in self.requests
                if who == person and at <= when < at + timedelta(minutes=1)
            ]
            assert len(minute) <= 4

    def teardown(self) -> None:
        if hasattr(self, "ledgers"):
            for _, work in self.open:
                self.run(self._end(work))
            if not self.has_crashed:
                self._everything_is_counted()

    def _everything_is_counted(self) -> None:
        # A day is kept until the next one ends, or longer if nobody asks for anything meanwhile.
        kept = self.watch.now.date() - timedelta(days=1)
        counted = {
            (Scope(each.scope), each.scope_id, each.day): each.seconds
            for each in self.run(self._usage())
            if each.day >= kept
        }
        # Nothing has no row.
        made = {key: each for key, each in self.made.items() if each and key[2] >= kept}
        assert counted == pytest.approx({**dict.fromkeys(counted, 0.0), **made})


@pytest.fixture
def budget(sqlite_url: str) -> Iterator[type[Budget]]:
    with asyncio.Runner() as runner:
        Budget.runner = runner
        Budget.database = runner.run(open_database(sqlite_url))
        yield Budget
        runner.run(Budget.database.close())


@pytest.mark.slow
def test_no_order_exceeds_a_limit(budget: type[Budget]) -> None:
    run_state_machine_as_test(
        budget,
        settings=settings(
            max_examples=15,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
