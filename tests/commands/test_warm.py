"""`/warm` as operators use it, and the admins whom they let."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from simcord import SetupError

from bot.errors import Reason
from bot.interface.wording.sentences import REFUSALS
from bot.speech.errors import BackendNotDeployedError
from tests.support.discord_server import open_server
from tests.support.scripted_backend import ScriptedBackend

if TYPE_CHECKING:
    from pathlib import Path

    from bot.speech.backend import ColdStart
    from tests.support.discord_server import Answer, Member, Server


class SleepyBackend(ScriptedBackend):
    """Sleeps while nobody speaks."""

    def __init__(self) -> None:
        super().__init__()
        self.awake_seconds: list[float] = []
        self.is_deployed = True

    def cold_start(self) -> ColdStart | None:
        return None

    async def keep_awake(self, seconds: float) -> float:
        if not self.is_deployed:
            raise BackendNotDeployedError("x")
        self.awake_seconds.append(seconds)
        return max(self.awake_seconds)


async def admin(server: Server) -> Member:
    """A manager of a server that the operator named."""
    await server.restarts(warm_servers=frozenset({server.guild.id}))
    return server.manager("admin")


def until(answer: Answer) -> int:
    found = re.search(r"stays awake until <t:(\d+):t>", answer.told)
    assert found is not None, answer.told
    return int(found[1])


async def test_keeps_the_engine_awake_and_says_until_when_and_that_it_costs(
    tmp_path: Path,
) -> None:
    backend = SleepyBackend()
    async with open_server(tmp_path, backend) as server:
        answer = await (await admin(server)).types("warm", minutes=30)
        assert answer.private is not None
        assert answer.private.ephemeral
        assert answer.told.startswith("The voice engine is waking up and stays awake until <t:")
        assert "costs money" in answer.told
    assert backend.awake_seconds == [1_800]


async def test_says_the_later_end_if_somebody_asked_for_that_before(tmp_path: Path) -> None:
    async with open_server(tmp_path, SleepyBackend()) as server:
        manager = await admin(server)
        first = until(await manager.types("warm", minutes=120))
        assert until(await manager.types("warm", minutes=5)) >= first


async def test_admins_of_other_servers_may_not_spend_the_operators_money(tmp_path: Path) -> None:
    backend = SleepyBackend()
    async with open_server(tmp_path, backend) as server:
        manager = server.manager("admin")
        answer = await manager.types("warm", minutes=30)
        assert answer.told == REFUSALS[Reason.ONLY_OPERATORS]
        assert backend.awake_seconds == []
        await server.restarts(operators=frozenset({manager.actor.id}))
        assert until(await manager.types("warm", minutes=30))


async def test_says_why_it_cannot(tmp_path: Path) -> None:
    backend = SleepyBackend()
    backend.is_deployed = False
    async with open_server(tmp_path, backend) as server:
        answer = await (await admin(server)).types("warm", minutes=30)
        assert answer.told.startswith("The voice engine isn't set up yet.")


async def test_is_kindly_refused_where_the_engine_never_sleeps(server: Server) -> None:
    answer = await (await admin(server)).types("warm", minutes=30)
    assert answer.told == "The voice engine here never sleeps, so there's nothing to warm up."


async def test_is_not_offered_to_everybody(ada: Member) -> None:
    with pytest.raises(SetupError, match="default-member-permissions"):
        await ada.types("warm", minutes=30)


@pytest.mark.parametrize("minutes", [4, 121])
async def test_is_for_a_sensible_time(server: Server, minutes: int) -> None:
    with pytest.raises(SetupError, match="minutes"):
        await (await admin(server)).types("warm", minutes=minutes)
