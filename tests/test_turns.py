"""Commands of one person take effect in the order in which they were typed."""

from __future__ import annotations

import asyncio

import pytest

from bot.interface.turns import Turns

ADA, GRACE = 1, 2


async def test_a_command_that_is_ready_early_waits_for_the_one_before_it() -> None:
    turns = Turns()
    effects: list[str] = []

    async def command(name: str, person: int, seconds: float) -> None:
        with turns.taken(person) as turn:
            await asyncio.sleep(seconds)
            await turn.comes()
            effects.append(name)
            turn.end()
            await asyncio.sleep(0.05)

    await asyncio.gather(
        command("first", ADA, 0.03), command("second", ADA, 0), command("other", GRACE, 0)
    )
    assert effects == ["other", "first", "second"]


async def test_a_command_that_fails_lets_the_next_one_go() -> None:
    turns = Turns()
    with pytest.raises(ZeroDivisionError), turns.taken(ADA):
        raise ZeroDivisionError
    with turns.taken(ADA) as turn:
        await asyncio.wait_for(turn.comes(), 1)
        with pytest.raises(ZeroDivisionError), turns.taken(ADA):
            raise ZeroDivisionError
        with turns.taken(ADA) as third:
            waiting = asyncio.create_task(third.comes())
            await asyncio.sleep(0)
            assert not waiting.done(), "the first has not taken effect yet"
            turn.end()
            await asyncio.wait_for(waiting, 1)
    assert not turns._last, "nobody is remembered"
