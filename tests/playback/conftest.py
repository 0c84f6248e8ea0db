"""A guild with a loopback voice server, and a member who speaks there."""

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
async def guild(tmp_path: Path) -> AsyncIterator[VoiceGuild]:
    async with open_server(tmp_path, MarkedBackend()) as server, open_voice(server) as world:
        yield world.guilds[0]


@pytest.fixture
async def ada(guild: VoiceGuild) -> Speaker:
    return await guild.speaker("ada")
