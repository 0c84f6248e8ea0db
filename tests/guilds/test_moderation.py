"""Blocks and frozen voices: what holds where, and what a second decision changes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import Reason
from bot.guilds.moderation import Decisions, Moderation
from bot.guilds.records import EVERYWHERE, Block, Freeze, FreezeKind
from bot.storage.database import open_database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.databases import Clock

ANA, BEN, ADMIN = 1_198_765_432_109_876_543, 2**63 - 1, 77
HERE, THERE = 998_765_432_109_876_543, 998_765_432_109_876_544
VOICE, OTHER_VOICE = 12, 13


@pytest.fixture
async def moderation(database_url: str, clock: Clock) -> AsyncIterator[Moderation]:
    database = await open_database(database_url)
    yield Moderation(database, clock=clock)
    await database.close()


async def test_a_server_blocks_for_itself_alone(moderation: Moderation) -> None:
    assert await moderation.block(BEN, HERE, by=ADMIN)

    assert await moderation.is_blocked(BEN, HERE) == HERE
    assert await moderation.is_blocked(BEN, THERE) is None
    assert await moderation.is_blocked(BEN, None) is None
    assert await moderation.is_blocked(ANA, HERE) is None


async def test_the_operators_block_counts_everywhere_and_first(moderation: Moderation) -> None:
    await moderation.block(BEN, HERE, by=ADMIN)
    await moderation.block(BEN, EVERYWHERE, by=None)

    for place in (HERE, THERE, None):
        assert await moderation.is_blocked(BEN, place) == EVERYWHERE
    assert await moderation.unblock(BEN, EVERYWHERE)
    assert await moderation.is_blocked(BEN, HERE) == HERE


async def test_a_second_block_changes_nothing(moderation: Moderation, clock: Clock) -> None:
    await moderation.block(BEN, HERE, by=ADMIN, report_id=3)
    first = clock()

    assert not await moderation.block(BEN, HERE, by=ANA)
    page = await moderation.blocks(HERE)
    assert page.total == 1
    assert (page.blocks[0].by, page.blocks[0].report_id) == (ADMIN, 3)
    assert page.blocks[0].at < first

    assert await moderation.unblock(BEN, HERE)
    assert not await moderation.unblock(BEN, HERE)
    assert await moderation.is_blocked(BEN, HERE) is None


async def test_blocks_are_listed_the_latest_first(moderation: Moderation) -> None:
    for person in range(1, 13):
        await moderation.block(person, HERE, by=ADMIN)
    await moderation.block(99, THERE, by=ADMIN)

    page = await moderation.blocks(HERE, offset=10, limit=10)
    assert page.total == 12
    assert [block.user_id for block in page.blocks] == [2, 1]


async def test_a_frozen_voice_can_be_removed_but_not_the_other_way(moderation: Moderation) -> None:
    async def decide(kind: FreezeKind, by: int) -> bool:
        return await moderation.freeze(VOICE, BEN, HERE, kind, by=by, report_id=by)

    assert await decide(FreezeKind.FROZEN, 1)
    assert not await decide(FreezeKind.FROZEN, 2)
    assert await decide(FreezeKind.REMOVED, 3)
    assert not await decide(FreezeKind.FROZEN, 4)
    assert not await decide(FreezeKind.REMOVED, 5)

    freeze = await moderation.freeze_of(VOICE, HERE)
    assert freeze is not None
    assert (freeze.kind, freeze.by, freeze.report_id) == (FreezeKind.REMOVED, 3, 3)
    assert await moderation.lift(VOICE, HERE) == freeze
    assert await moderation.lift(VOICE, HERE) is None
    assert await moderation.freeze_of(VOICE, HERE) is None


async def test_a_server_cannot_lift_what_holds_everywhere(moderation: Moderation) -> None:
    await moderation.freeze(VOICE, BEN, EVERYWHERE, FreezeKind.FROZEN, by=None)
    await moderation.freeze(VOICE, BEN, HERE, FreezeKind.REMOVED, by=ADMIN)
    await moderation.lift(VOICE, HERE)

    for place in (HERE, THERE, None):
        freeze = await moderation.freeze_of(VOICE, place)
        assert freeze is not None
        assert freeze.guild_id == EVERYWHERE
    assert await moderation.freeze_of(OTHER_VOICE, HERE) is None
    assert await moderation.freezes(HERE, limit=9) == ()


async def test_all_that_was_decided_is_one_read(moderation: Moderation) -> None:
    await moderation.block(BEN, HERE, by=ADMIN)
    await moderation.block(ANA, THERE, by=ADMIN)
    await moderation.freeze(VOICE, BEN, HERE, FreezeKind.REMOVED, by=ADMIN)
    await moderation.freeze(OTHER_VOICE, ANA, THERE, FreezeKind.FROZEN, by=ADMIN)

    decided = await moderation.decisions({BEN}, {VOICE, OTHER_VOICE})
    assert [(block.user_id, block.guild_id) for block in decided.blocks] == [(BEN, HERE)]
    assert {freeze.voice_id for freeze in decided.freezes} == {VOICE, OTHER_VOICE}
    assert decided.block_of(BEN, HERE)
    assert not decided.block_of(BEN, THERE)
    assert decided.freeze_of(OTHER_VOICE, THERE)
    assert not decided.freeze_of(OTHER_VOICE, None)
    assert await moderation.decisions((), ()) == Decisions()


async def test_who_is_forgotten_stays_blocked(moderation: Moderation) -> None:
    await moderation.block(BEN, HERE, by=ADMIN)
    await moderation.freeze(VOICE, BEN, HERE, FreezeKind.REMOVED, by=ADMIN)
    await moderation.freeze(OTHER_VOICE, ANA, HERE, FreezeKind.REMOVED, by=ADMIN)

    await moderation.forget(BEN)
    assert await moderation.is_blocked(BEN, HERE) == HERE
    assert [freeze.voice_id for freeze in await moderation.freezes(HERE, limit=9)] == [OTHER_VOICE]


places = st.sampled_from([EVERYWHERE, HERE, THERE])
kinds = st.sampled_from(FreezeKind)
AT = datetime(2026, 11, 27, tzinfo=UTC)


@given(
    blocks=st.sets(st.tuples(st.sampled_from([ANA, BEN]), places)),
    freezes=st.dictionaries(st.tuples(st.sampled_from([VOICE, OTHER_VOICE]), places), kinds),
    guild=st.sampled_from([HERE, THERE, None]),
)
def test_who_may_speak_with_what(
    blocks: set[tuple[int, int]], freezes: dict[tuple[int, int], FreezeKind], guild: int | None
) -> None:
    decided = Decisions(
        tuple(Block(user, where, None, AT, None) for user, where in blocks),
        tuple(
            Freeze(voice, where, BEN, kind, None, AT, None)
            for (voice, where), kind in freezes.items()
        ),
    )
    frozen_everywhere = freezes.get((VOICE, EVERYWHERE))
    frozen_here = None if guild is None else freezes.get((VOICE, guild))
    if (BEN, EVERYWHERE) in blocks:
        expected = Reason.BLOCKED_EVERYWHERE
    elif (BEN, guild) in blocks:
        expected = Reason.BLOCKED_HERE
    elif frozen_everywhere is not None:
        is_frozen = frozen_everywhere is FreezeKind.FROZEN
        expected = Reason.VOICE_FROZEN if is_frozen else Reason.VOICE_REMOVED
    elif frozen_here is not None:
        is_frozen = frozen_here is FreezeKind.FROZEN
        expected = Reason.VOICE_FROZEN_HERE if is_frozen else Reason.VOICE_REMOVED_HERE
    else:
        expected = None

    refusal = decided.refusal(BEN, VOICE, guild)
    assert (refusal.reason if refusal is not None else None) == expected
    of_no_voice = decided.refusal(BEN, None, guild)
    assert (of_no_voice is not None) == (not {(BEN, EVERYWHERE), (BEN, guild)}.isdisjoint(blocks))
