"""Fixtures for tests of what is heard in a voice channel: a guild, and members in its lounge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.discord_server import open_server
from tests.support.marked_speech import MarkedBackend
from tests.support.voice_guild import open_voice

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.voice_guild import Speaker, VoiceGuild


@pytest.fixture
def backend() -> MarkedBackend:
    return MarkedBackend()


@pytest.fixture
async def guild(tmp_path: Path, backend: MarkedBackend) -> AsyncIterator[VoiceGuild]:
    async with open_server(tmp_path, backend) as server, open_voice(server) as world:
        yield world.guilds[0]


@pytest.fixture
async def ada(guild: VoiceGuild) -> Speaker:
    return await guild.speaker("ada")


@pytest.fixture
async def grace(guild: VoiceGuild) -> Speaker:
    return await guild.speaker("grace")
