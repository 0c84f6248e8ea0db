"""Healthy lines: a member speaks for minutes, in each mode, while others come, talk and stop."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING

from benchmarks.voice_tally import Tally
from tests.support.discord_server import NO_LIMITS, open_server
from tests.support.marked_speech import ITEMS, MarkedBackend, account
from tests.support.voice_guild import last_word, open_voice
from tests.support.voice_server.modes import MODES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.support.voice_guild import Speaker, VoiceGuild

ITEM_SECONDS = ((0.4, 1.5), (1.5, 4.0), (4.0, 9.0))
"""Short, middling and long items, which are equally frequent."""

PAUSES = (0.1, 6.0)
TALK = (0.5, 4.0)
KEPT_SECONDS = 60.0


async def healthy_lines(folder: Path, modes: Sequence[str], *, seconds: float) -> dict[str, Tally]:
    """Speak for so many seconds in each of these modes, all at once."""
    tallies = {mode: Tally() for mode in modes}
    async with (
        open_server(folder, MarkedBackend(), **NO_LIMITS) as server,
        open_voice(server, guilds=len(modes)) as world,
        asyncio.TaskGroup() as tasks,
    ):
        ends = time.time() + seconds
        for guild, (mode, tally) in zip(world.guilds, tallies.items(), strict=True):
            guild.call.mode = MODES[mode]
            ada = await guild.speaker("ada")
            rng = random.Random(mode)  # noqa: S311 - which pauses are made is no secret
            tasks.create_task(_line(guild, ada, rng, tally, until=ends))
            tasks.create_task(_talkers(guild, rng, until=ends))
    return tallies


async def _line(
    guild: VoiceGuild, ada: Speaker, rng: random.Random, tally: Tally, *, until: float
) -> None:
    may_reconnect = guild.call.mode.may_reconnect_once
    count = 0
    while time.time() < until:
        item, seconds = count % ITEMS, round(rng.uniform(*rng.choice(ITEM_SECONDS)), 1)
        asked, before = time.time(), max(1, len(guild.call.sessions))
        told = await last_word(await ada.says(item, seconds))
        heard = await guild.call.heard(seconds=0.3, since=asked)
        known = await asyncio.to_thread(account, heard, item, seconds)
        story = f"healthy item {count} of {seconds:g} s"
        reconnections = len(guild.call.sessions) - before
        is_permitted = reconnections == 1 and may_reconnect
        tally.judge_healthy(story, known, told, reconnected=is_permitted)
        if is_permitted:
            tally.permitted += 1
        elif reconnections:
            tally.reconnections += reconnections
            tally.stories.append(f"{story}: {reconnections} reconnections")
        guild.call.forget(before=time.time() - KEPT_SECONDS)
        count += 1
        await asyncio.sleep(rng.uniform(*PAUSES))


async def _talkers(guild: VoiceGuild, rng: random.Random, *, until: float) -> None:
    """Let others talk and stop at any time, in modes in which they would be silent too."""
    while time.time() < until:
        guild.call.somebody_talks = not guild.call.somebody_talks
        await asyncio.sleep(rng.uniform(*TALK))
