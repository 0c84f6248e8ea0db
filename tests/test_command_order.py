"""Commands of one person take effect in the order in which they were typed."""

from __future__ import annotations

import asyncio

import pytest

from bot.interface.options import CommandOrder

ADA, GRACE = 1, 2


async def test_a_command_that_is_ready_early_waits_for_the_one_before_it() -> None:
    order = CommandOrder()
    effects: list[str] = []

    async def use(name: str, person: int, seconds: float) -> None:
        with order.command(person) as command:
            await asyncio.sleep(seconds)
            await command.wait_for_earlier()
            effects.append(name)
            command.release()
            await asyncio.sleep(0.05)

    await asyncio.gather(use("first", ADA, 0.03), use("second", ADA, 0), use("other", GRACE, 0))
    assert effects == ["other", "first", "second"]


async def test_a_command_that_fails_lets_the_next_one_go() -> None:
    order = CommandOrder()
    with pytest.raises(ZeroDivisionError), order.command(ADA):
        raise ZeroDivisionError
    with order.command(ADA) as command:
        await asyncio.wait_for(command.wait_for_earlier(), 10)
        with pytest.raises(ZeroDivisionError), order.command(ADA):
            raise ZeroDivisionError
        with order.command(ADA) as third:
            waiting = asyncio.create_task(third.wait_for_earlier())
            await asyncio.sleep(0)
            assert not waiting.done(), "the first has not taken effect yet"
            command.release()
            await asyncio.wait_for(waiting, 10)
    assert not order._open, "nobody is remembered"
