"""`/warm` as admins use it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from simcord import SetupError

from bot.speech.errors import BackendNotDeployedError
from tests.support.discord_server import open_server
from tests.support.scripted_backend import ScriptedBackend

if TYPE_CHECKING:
    from pathlib import Path

    from bot.speech.backend import ColdStart
    from tests.support.discord_server import Member, Server


class SleepyBackend(ScriptedBackend):
    """Sleeps while nobody speaks."""

    def __init__(self) -> None:
        super().__init__()
        self.awake_seconds: list[float] = []
        self.is_deployed = True

    def cold_start(self) -> ColdStart | None:
        return None

    async def keep_awake(self, seconds: float) -> None:
        if not self.is_deployed:
            raise BackendNotDeployedError("x")
        self.awake_seconds.append(seconds)


async def admin(server: Server) -> Member:
    """A manager of a server that the operator named."""
    await server.restarts(warm_servers=frozenset({server.env.guild.id}))
    return server.manager("admin")


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
