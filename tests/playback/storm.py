"""A random test: guilds speak while everything that can go wrong with voice goes wrong at random.

    python -m tests.playback.storm --minutes 10

Each `/say` must be heard, or its member must be told that it was not. What was heard is judged from
the packets, what was told from the message that the member sees.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.discord_server import open_server
from tests.support.marked_speech import ITEMS, MarkedBackend, unheard_seconds
from tests.support.voice_guild import SPOKEN, last_word, open_voice
from tests.support.voice_server.faults import Faults

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from simcord.builders import ChannelHandle

    from tests.support.voice_guild import Speaker, VoiceGuild

GUILDS = 3
SPEAKERS = ("ada", "grace")
ITEM_SECONDS = (1.0, 4.0)
SECONDS_BETWEEN_ITEMS = (0.5, 4.0)
SECONDS_BETWEEN_FAULTS = (3.0, 9.0)
END_WITHIN_SECONDS = 150.0
"""An item that has not ended by then counts as lost."""

LOST_SECONDS = 0.3
"""If more of an item is missing, it was not heard."""

CODES = (1006, 4006, 4009, 4014, 4015, 4022)


@dataclass
class Report:
    """The result.

    Attributes:
        faults: How often each fault happened.
        heard: How many items were heard.
        told: How often each sentence was told instead.
        lost: The items that were neither heard nor explained: there must be none.
    """

    faults: Counter[str] = field(default_factory=Counter)
    heard: int = 0
    told: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"heard: {self.heard}"]
        lines += [f"told, {count} times: {words}" for words, count in self.told.most_common()]
        lines += [f"LOST: {item}" for item in self.lost]
        lines.append("faults: " + ", ".join(f"{n} {kind}" for kind, n in self.faults.most_common()))
        return "\n".join(lines)


async def storm(folder: Path, *, seconds: float, seed: int, guilds: int = GUILDS) -> Report:
    """Cause faults for that long, then wait for the last items; the seed decides what happens."""
    report = Report()
    async with (
        open_server(folder, MarkedBackend()) as server,
        open_voice(server, guilds=guilds) as world,
        asyncio.TaskGroup() as tasks,
    ):
        ends = time.time() + seconds
        for number, guild in enumerate(world.guilds):
            faults = _FaultMaker(guild, random.Random(f"{seed} {number}"), report)  # noqa: S311
            tasks.create_task(faults.happen(until=ends))
            for index, name in enumerate(SPEAKERS):
                person = _Person(guild, await guild.speaker(name), index, faults, report)
                rng = random.Random(f"{seed} {number} {name}")  # noqa: S311
                tasks.create_task(person.talk(rng, until=ends))
    return report


class _Person:
    """A member who uses `/say` again and again, and checks that each item is heard or explained."""

    def __init__(
        self, guild: VoiceGuild, speaker: Speaker, index: int, faults: _FaultMaker, report: Report
    ) -> None:
        self._guild = guild
        self._faults = faults
        self._speaker = speaker
        self._numbers = range(index, ITEMS, len(SPEAKERS))
        self._report = report

    async def talk(self, rng: random.Random, *, until: float) -> None:
        count = 0
        while time.time() < until:
            item = self._numbers[count % len(self._numbers)]
            count += 1
            await self._say(item, round(rng.uniform(*ITEM_SECONDS), 1))
            await asyncio.sleep(rng.uniform(*SECONDS_BETWEEN_ITEMS))

    async def _say(self, item: int, seconds: float) -> None:
        await self._speaker.goes_to(self._channel())
        asked = time.time()
        answer = await self._speaker.says(item, seconds)
        told = await last_word(answer, within=END_WITHIN_SECONDS)
        heard = await self._guild.call.heard(seconds=0.3, since=asked)
        missing = await asyncio.to_thread(unheard_seconds, heard, item, seconds)
        if missing <= LOST_SECONDS:
            self._report.heard += 1
        elif told is not None and SPOKEN not in told:
            self._report.told[told] += 1
        else:
            self._report.lost.append(
                f"{missing:.2f} s of item {item} of {seconds:g} s in {self._guild.handle.name}, "
                f"asked at {asked:.1f}, told at {time.time():.1f}: {told}; "
                f"{self._guild.call.unintelligible} packets were unintelligible so far; "
                f"faults here: {', '.join(self._faults.since(asked))}"
            )
        self._guild.call.forget(before=time.time() - END_WITHIN_SECONDS)

    def _channel(self) -> ChannelHandle:
        """The channel that the bot is in, or else the lounge."""
        guild = self._guild
        return guild.studio if guild.bot_is_in == guild.studio.id else guild.lounge


class _FaultMaker:
    """Causes one fault after another in one guild."""

    def __init__(self, guild: VoiceGuild, rng: random.Random, report: Report) -> None:
        self._guild = guild
        self._rng = rng
        self._report = report
        self._log: list[tuple[float, str]] = []
        self._kinds: dict[str, Callable[[], Awaitable[None]]] = {
            "dropped connections": self._drop,
            "kicks": guild.kick_bot,
            "moves to another server": guild.move_server,
            "moves to another channel": self._drag,
            "UDP silences": self._silence,
            "UDP silences that end": self._silence_for_a_while,
            "drops without an event": self._forget_bot,
            "refusals": lambda: self._for_a_while(Faults(refuses_connections=True)),
            "refused sessions": lambda: self._for_a_while(Faults(closes_on_identify=4006)),
            "lost discoveries": lambda: self._for_a_while(Faults(loses_discovery=True)),
            "comings and goings": self._people_change,
        }
        self._weights = [6, 1, 3, 2, 1, 1, 1, 2, 2, 2, 3]

    async def happen(self, *, until: float) -> None:
        """Cause faults, whenever the bot is connected."""
        while time.time() < until:
            await asyncio.sleep(self._rng.uniform(*SECONDS_BETWEEN_FAULTS))
            (kind,) = self._rng.choices(list(self._kinds), self._weights)
            if self._guild.bot_is_in is not None and self._guild.call.is_connected:
                self._report.faults[kind] += 1
                self._log.append((time.time(), kind))
                await self._kinds[kind]()

    def since(self, moment: float) -> list[str]:
        """The faults since then, and of the ten seconds before, with their times."""
        return [f"{kind} at {when:.1f}" for when, kind in self._log if when > moment - 10.0]

    async def _drop(self) -> None:
        await self._guild.call.close(self._rng.choice(CODES))

    async def _drag(self) -> None:
        here = self._guild.bot_is_in
        channels = (self._guild.lounge, self._guild.studio)
        (elsewhere,) = (channel for channel in channels if channel.id != here)
        await self._guild.move_bot(elsewhere)

    async def _people_change(self) -> None:
        """Add or remove a listener, which changes the encryption keys of the call."""
        call = self._guild.call
        await (call.listener_leaves() if call.listeners > 1 else call.listener_joins())

    async def _silence(self) -> None:
        self._guild.call.udp_dies()

    async def _silence_for_a_while(self) -> None:
        self._guild.call.udp_dies()
        await asyncio.sleep(self._rng.uniform(1.5, 5.0))
        self._guild.call.udp_revives()

    async def _forget_bot(self) -> None:
        self._guild.forget_bot()

    async def _for_a_while(self, faults: Faults) -> None:
        self._guild.call.faults = faults
        await self._guild.call.close(1006)
        await asyncio.sleep(self._rng.uniform(0.5, 3.0))
        self._guild.call.faults = Faults()


def main() -> int:
    """Run from the command line; exit with 1 if an item was lost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--guilds", type=int, default=GUILDS)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = storm(
            Path(folder), seconds=60 * options.minutes, seed=options.seed, guilds=options.guilds
        )
        report = asyncio.run(work)
    print(report)  # noqa: T201 - what the program is for
    return 1 if report.lost else 0


if __name__ == "__main__":
    sys.exit(main())
