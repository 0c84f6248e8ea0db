"""The simulated server of the demo."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from bot.demo.world import open_world
from bot.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

MILLISECOND = timedelta(milliseconds=1)
"""What a message's id tells about its time is that exact."""


@pytest.mark.slow
async def test_a_message_is_dated_when_it_is_sent(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, database_url=f"sqlite:///{tmp_path / 'demo.db'}")
    async with open_world(settings) as world:
        for _ in range(2):
            await asyncio.sleep(0.1)
            earliest = datetime.now(UTC) - MILLISECOND
            answer = await world.you.slash(world.channel, "help")
            assert answer.response is not None
            assert earliest <= answer.response.message.created_at <= datetime.now(UTC)


@pytest.mark.slow
async def test_its_server_is_the_same_after_a_restart(tmp_path: Path) -> None:
    """What was shared or decided there is still so."""
    settings = Settings(_env_file=None, database_url=f"sqlite:///{tmp_path / 'demo.db'}")
    seen = []
    for _ in range(2):
        async with open_world(settings) as world:
            assert world.channel.guild is not None
            guild = world.bot.get_guild(world.channel.guild.id)
            assert guild is not None
            seen.append({each.id for each in (guild, *guild.channels, *guild.roles)})
            await asyncio.sleep(0.01)
    assert seen[0] == seen[1]


@pytest.mark.slow
@pytest.mark.realtime
async def test_what_recurs_goes_on_while_nobody_types_anything(tmp_path: Path) -> None:
    """simcord's own time stands still then. It made up for minutes at once, and the page waited."""
    settings = Settings(_env_file=None, database_url=f"sqlite:///{tmp_path / 'demo.db'}")
    async with open_world(settings) as world:
        log = world.channel
        assert log.guild is not None
        await world.bot.policy.settings.change(
            log.guild.id, lambda before: replace(before, audit_channel_id=log.id)
        )
        await world.you.slash(log, "moderation block", member=world.friend)
        async with asyncio.timeout(60):
            while not any("blocked" in message.content for message in log.history()):
                await asyncio.to_thread(time.sleep, 0.2)
