"""What was used and is being used, read from the tables and counted in them, under the lock."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, TypeAlias

from sqlalchemy import ColumnElement, case, delete, func, select, tuple_, update

from bot.guilds.limits import MINUTE, Standing, next_day
from bot.guilds.records import Scope, WorkKind
from bot.guilds.tables import RequestRow, UsageDayRow, WorkRow

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from bot.guilds.access import Actor

FORGOTTEN_AFTER = timedelta(seconds=60)
"""A work that was not renewed for so long is dropped."""

KEPT = timedelta(days=35)
KEPT_OF_PEOPLE = timedelta(days=1)
"""How old a day is until which its usage is kept. Of people that is short: today alone counts."""

EVERYBODY = 0
"""The id of everybody's usage; instead of a person's id, what is done for nobody in particular."""

UsageKey: TypeAlias = tuple[Scope, int, date]
"""Of a day's usage: whose it is, by id, and the day."""


def usage_keys(user_id: int, guild_id: int | None, day: date) -> list[UsageKey]:
    """Return the keys of a person's usage, of the server's if there is one, and of everybody's."""
    servers = [] if guild_id is None else [(Scope.SERVER, guild_id, day)]
    return [(Scope.PERSON, user_id, day), *servers, (Scope.ALL, EVERYBODY, day)]


async def drop_old(session: AsyncSession, now: datetime, *, but: Collection[int]) -> None:
    """Drop the works that nobody does any more, and requests that are no longer counted.

    If they are of times to come, the clock was put back: the requests are dropped, and works if
    nobody renews them now.

    Args:
        session: Of a transaction that has the lock.
        now: The time, in UTC.
        but: The ids of works that go on for certain, however long they were not renewed.
    """
    goes_on, renewed = WorkRow.id.in_(list(but)), WorkRow.renewed_at
    await session.execute(delete(WorkRow).where(~goes_on, renewed < now - FORGOTTEN_AFTER))
    is_ahead = renewed > now + FORGOTTEN_AFTER
    await session.execute(update(WorkRow).where(is_ahead).values(renewed_at=now))
    is_old = (RequestRow.at <= now - MINUTE) | (RequestRow.at > now + MINUTE)
    await session.execute(delete(RequestRow).where(is_old))


async def usage_on(session: AsyncSession, actor: Actor, day: date) -> dict[Scope, UsageDayRow]:
    """Return a day's usage of a person, of their server and of everybody."""
    usage = {}
    keys = usage_keys(actor.user_id, actor.guild_id, day)
    stored = await _stored_usage(session, keys)
    for key in keys:
        row = stored.get(key)
        if row is None:
            scope, scope_id, _ = key
            row = UsageDayRow(scope=scope, scope_id=scope_id, day=day, seconds=0.0, requests=0)
            session.add(row)
            if scope is Scope.ALL:  # the first request of the day
                await _delete_old_days(session, day)
        usage[key[0]] = row
    return usage


async def _stored_usage(
    session: AsyncSession, keys: Collection[UsageKey]
) -> dict[UsageKey, UsageDayRow]:
    if not keys:
        return {}
    columns = tuple_(UsageDayRow.scope, UsageDayRow.scope_id, UsageDayRow.day)
    rows = await session.scalars(select(UsageDayRow).where(columns.in_(keys)))
    return {(Scope(row.scope), row.scope_id, row.day): row for row in rows}


async def _delete_old_days(session: AsyncSession, today: date) -> None:
    is_old = UsageDayRow.day < today - KEPT
    is_persons = UsageDayRow.scope == Scope.PERSON
    is_old_of_person = is_persons & (UsageDayRow.day < today - KEPT_OF_PEOPLE)
    await session.execute(delete(UsageDayRow).where(is_old | is_old_of_person))


async def standing_of(
    session: AsyncSession,
    actor: Actor,
    kind: WorkKind,
    usage: dict[Scope, UsageDayRow],
    now: datetime,
) -> Standing:
    """Return what counts against the limits, when a person asks for something of that kind."""
    midnight = datetime.combine(now.date(), time(), UTC)
    is_today = (WorkRow.started_at >= midnight) & (WorkRow.started_at < next_day(now))
    is_persons, is_there = WorkRow.user_id == actor.user_id, WorkRow.guild_id == actor.guild_id
    is_request, is_live = WorkRow.kind == WorkKind.REQUEST, WorkRow.kind == WorkKind.LIVE
    elsewhere = is_live if kind is not WorkKind.LIVE else is_live & ~is_there
    """Live speech in the same server counts as one with this, if this is live too."""

    reserved = case(
        (WorkRow.seconds > WorkRow.counted, WorkRow.seconds - WorkRow.counted), else_=0.0
    )

    def seconds(*those: ColumnElement[bool]) -> ColumnElement[float]:
        return func.coalesce(func.sum(reserved).filter(is_today, *those), 0.0)

    def at_once(whose: ColumnElement[bool]) -> ColumnElement[int]:
        requests = func.count().filter(whose, is_request)
        return requests + func.count(WorkRow.guild_id.distinct()).filter(whose, elsewhere)

    columns = seconds(is_persons), seconds(is_there), seconds(), at_once(is_persons)
    of_person, of_server, of_all, person_at_once, server_at_once = (
        await session.execute(select(*columns, at_once(is_there)).select_from(WorkRow))
    ).one()
    recent = select(RequestRow.at).where(
        RequestRow.user_id == actor.user_id, RequestRow.at > now - MINUTE
    )
    server = usage.get(Scope.SERVER)
    return Standing(
        now=now,
        person_seconds=usage[Scope.PERSON].seconds + of_person,
        server_seconds=None if server is None else server.seconds + of_server,
        all_seconds=usage[Scope.ALL].seconds + of_all,
        recent=(await session.scalars(recent.order_by(RequestRow.at))).all(),
        person_at_once=person_at_once,
        server_at_once=None if server is None else server_at_once,
    )


async def count_seconds(
    session: AsyncSession, made: Iterable[tuple[Sequence[UsageKey], float]]
) -> None:
    """Add seconds of speech to the usage of a day: a person's, a server's, and everybody's."""
    seconds: defaultdict[UsageKey, float] = defaultdict(float)
    for keys, more in made:
        for key in keys:
            seconds[key] += more
    for key, row in (await _stored_usage(session, seconds)).items():
        row.seconds += seconds[key]  # one without a row is of more than a month ago
