"""The same check in several modes of the voice server at once, each in a guild of its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.support.discord_server import open_server
from tests.support.marked_speech import MarkedBackend
from tests.support.voice_guild import open_voice
from tests.support.voice_server.modes import MODES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from pathlib import Path

    from tests.support.voice_guild import Speaker, VoiceGuild

    Check = Callable[[VoiceGuild, Speaker], Awaitable[None]]


async def in_modes(folder: Path, modes: Iterable[str], check: Check) -> None:
    """Run a check in each mode; raise `AssertionError` with what fails, mode by mode.

    Args:
        folder: An empty folder.
        modes: Names in `MODES`.
        check: Is given a guild whose voice server is in that mode, and a speaker in its lounge.
    """
    names = list(modes)
    async with (
        open_server(folder, MarkedBackend()) as server,
        open_voice(server, guilds=len(names)) as world,
    ):
        for guild, name in zip(world.guilds, names, strict=True):
            guild.call.mode = MODES[name]
        speakers = [await guild.speaker("ada") for guild in world.guilds]
        results = await asyncio.gather(
            *(check(guild, ada) for guild, ada in zip(world.guilds, speakers, strict=True)),
            return_exceptions=True,
        )
    failures = []
    for name, result in zip(names, results, strict=True):
        if isinstance(result, (AssertionError, TimeoutError)):
            failures.append(f"{name}: {result or 'it takes too long'}")
        elif isinstance(result, BaseException):
            raise result
    assert not failures, "\n".join(failures)
