"""Checks of the bot in several modes of the voice server at once, each in a guild of its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from tests.support.discord_server import open_server
from tests.support.marked_speech import MarkedBackend
from tests.support.voice_guild import open_voice
from tests.support.voice_server.modes import MODES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping
    from pathlib import Path
    from typing import Any

    from tests.support.voice_guild import Speaker, VoiceGuild

    Check = Callable[[VoiceGuild, Speaker], Awaitable[None]]


class Case(NamedTuple):
    """One guild.

    Attributes:
        mode: The mode of its voice server, by its name in `MODES`.
        check: Is given the guild, and a speaker in its lounge.
    """

    mode: str
    check: Check


async def in_modes(folder: Path, modes: Iterable[str], check: Check) -> None:
    """Run a check in each mode; raise `AssertionError` with what fails, mode by mode."""
    await side_by_side(folder, {mode: Case(mode, check) for mode in modes})


async def side_by_side(folder: Path, cases: Mapping[str, Case], **settings: Any) -> None:
    """Run checks at once, each in a guild of its own; most of the time they wait.

    The settings are the bot's.

    Raises `AssertionError` with what fails, one by one under their names.
    """
    async with (
        open_server(folder, MarkedBackend(), **settings) as server,
        open_voice(server, guilds=len(cases)) as world,
    ):
        pairs = list(zip(world.guilds, cases.values(), strict=True))
        for guild, case in pairs:
            guild.call.mode = MODES[case.mode]
        speakers = [await guild.speaker("ada") for guild in world.guilds]
        results = await asyncio.gather(
            *(case.check(guild, ada) for (guild, case), ada in zip(pairs, speakers, strict=True)),
            return_exceptions=True,
        )
    failures = []
    for name, result in zip(cases, results, strict=True):
        if isinstance(result, (AssertionError, TimeoutError)):
            failures.append(f"{name}: {result or 'it takes too long'}")
        elif isinstance(result, BaseException):
            raise result
    assert not failures, "\n".join(failures)
