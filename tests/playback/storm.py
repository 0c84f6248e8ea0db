"""A random test: guilds speak while everything that can go wrong with voice goes wrong at random.

    python -m tests.playback.storm --minutes 10

Each `/say` must be heard once, in the channel for which it was meant, or its member must be told
why it was not, with a sentence that fits what has happened. What was heard is judged from the
packets, what was told from the message that the member sees. Each guild's voice server is in
another mode.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.discord_server import NO_LIMITS, open_server
from tests.support.explanations import Cause, causes_of, explains
from tests.support.marked_speech import ITEMS, MarkedBackend, account
from tests.support.voice_guild import SPOKEN, last_word, open_voice
from tests.support.voice_server.faults import Faults
from tests.support.voice_server.modes import MODES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from simcord.builders import ChannelHandle

    from tests.support.marked_speech import Account
    from tests.support.voice_guild import Speaker, VoiceGuild
    from tests.support.voice_server.session import Session

SPEAKERS = ("ada", "grace")
ITEM_SECONDS = (1.0, 4.0)
SECONDS_BETWEEN_ITEMS = (0.5, 4.0)
SECONDS_BETWEEN_FAULTS = (3.0, 9.0)
END_WITHIN_SECONDS = 150.0
"""An item that has not ended by then counts as lost."""

LOST_SECONDS = 0.3
"""If more of an item is missing, it was not heard."""

REPEATED_SECONDS = 2.0
"""How much of an item may be heard twice after each fault."""

NOTICED_SECONDS = 10.0
"""Where pings are answered, UDP that is dead for longer has to be noticed; elsewhere nobody can."""

CODES = (1006, 4006, 4009, 4014, 4015, 4022)

CAUSES = {
    "kicks": {Cause.KICK},
    "moves to another channel": {Cause.DRAG},
    "UDP silences that end": {Cause.SILENCE},
    "UDP silences": {Cause.SILENCE},
    "drops without an event": {Cause.SILENCE},
    "new main sessions": {Cause.NEW_SESSION},
    "lost networks": {Cause.LOSS, Cause.SILENCE},
    "refusals": {Cause.LOSS},
    "refused sessions": {Cause.LOSS},
    "lost discoveries": {Cause.LOSS},
}
"""What may be told after each fault. After all others, the speech has to go on."""


@dataclass
class Report:
    """The result.

    Attributes:
        faults: How often each fault happened.
        heard: How many items were heard.
        told: How often each sentence was told instead, where it fits what has happened.
        lost: The items that were neither heard nor explained: there must be none.
        repeated: The items of which too much was heard twice: there must be none.
        misplaced: The items that were heard in another channel: there must be none.
        unnoticed: How many items were lost to dead UDP that nothing showed.
        most_repeated: The most seconds of an item that were heard twice.
    """

    faults: Counter[str] = field(default_factory=Counter)
    heard: int = 0
    told: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    misplaced: list[str] = field(default_factory=list)
    unnoticed: int = 0
    most_repeated: float = 0.0

    @property
    def items(self) -> int:
        """How many items ended."""
        return self.heard + self.told.total() + self.unnoticed + len(self.lost)

    @property
    def is_good(self) -> bool:
        """Whether every item was heard once where it was meant to be, or explained."""
        return not (self.lost or self.repeated or self.misplaced)

    def __str__(self) -> str:
        lines = [f"heard: {self.heard}"]
        lines += [f"told, {count} times: {words}" for words, count in self.told.most_common()]
        lines += [f"LOST: {item}" for item in self.lost]
        lines += [f"REPEATED: {item}" for item in self.repeated]
        lines += [f"ELSEWHERE: {item}" for item in self.misplaced]
        lines.append(f"lost to dead UDP that nothing showed: {self.unnoticed}")
        lines.append("faults: " + ", ".join(f"{n} {kind}" for kind, n in self.faults.most_common()))
        return "\n".join(lines)


async def storm(
    folder: Path, *, seconds: float, seed: int, modes: Sequence[str]
) -> dict[str, Report]:
    """Cause faults for that long, then wait for the last items; the seed decides what happens.

    Returns a report for each mode, which has a guild of its own.
    """
    reports = {mode: Report() for mode in modes}
    async with (
        open_server(folder, MarkedBackend(), **NO_LIMITS) as server,
        open_voice(server, guilds=len(modes)) as world,
        asyncio.TaskGroup() as tasks,
    ):
        ends = time.time() + seconds
        for guild, (mode, report) in zip(world.guilds, reports.items(), strict=True):
            guild.call.mode = MODES[mode]
            faults = _FaultMaker(guild, random.Random(f"{seed} {mode}"), report)  # noqa: S311
            tasks.create_task(faults.happen(until=ends))
            for index, name in enumerate(SPEAKERS):
                person = _Person(guild, await guild.speaker(name), index, faults, report)
                rng = random.Random(f"{seed} {mode} {name}")  # noqa: S311
                tasks.create_task(person.talk(rng, until=ends))
    return reports


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
        channel = self._channel()
        await self._speaker.goes_to(channel)
        asked = time.time()
        answer = await self._speaker.says(item, seconds)
        told = await last_word(answer, within=END_WITHIN_SECONDS)
        heard = await self._guild.call.heard(seconds=0.3, since=asked)
        known = await asyncio.to_thread(account, heard, item, seconds)
        self._judge(item, seconds, channel, asked, told, known)
        self._guild.call.forget(before=time.time() - END_WITHIN_SECONDS)

    def _judge(
        self,
        item: int,
        seconds: float,
        channel: ChannelHandle,
        asked: float,
        told: str | None,
        known: Account,
    ) -> None:
        faults = self._faults.since(asked)
        story = (
            f"item {item} of {seconds:g} s in {self._guild.handle.name}, asked at {asked:.1f}, "
            f"told at {time.time():.1f}: {told}; {known.missing:.2f} s missing, "
            f"{known.repeated:.2f} s repeated; "
            f"{self._guild.call.unintelligible} packets were unintelligible so far; "
            f"faults here: {', '.join(faults)}"
        )
        self._report.most_repeated = max(self._report.most_repeated, known.repeated)
        if known.channels - {channel.id}:
            self._report.misplaced.append(story)
        if known.repeated > REPEATED_SECONDS * max(1, len(faults)):
            self._report.repeated.append(story)
        if known.missing <= LOST_SECONDS:
            self._report.heard += 1
        elif told is not None and explains(told, self._faults.causes(asked)):
            self._report.told[told] += 1
        elif told is not None and SPOKEN in told and self._faults.were_hidden(asked):
            self._report.unnoticed += 1
        else:
            self._report.lost.append(story)

    def _channel(self) -> ChannelHandle:
        """The channel that the bot is in, or else the lounge."""
        guild = self._guild
        return guild.studio if guild.bot_is_in == guild.studio.id else guild.lounge


@dataclass
class _Silence:
    """UDP packets of a connection that don't arrive, from a moment on, perhaps to another one."""

    session: Session
    began: float
    ended: float = math.inf

    def hides(self, since: float, *, answers: bool) -> bool:
        """Whether speech may have been lost to it since then, without anything that shows it.

        Args:
            since: The moment, as `time.time()`.
            answers: Whether the voice server answers pings.
        """
        closed_at = self.session.closed_at or math.inf
        if min(self.ended, closed_at) < since:
            return False
        seconds = min(self.ended, time.time()) - self.began
        return not answers or seconds < NOTICED_SECONDS or not self.session.is_open


class _FaultMaker:
    """Causes one fault after another in one guild."""

    def __init__(self, guild: VoiceGuild, rng: random.Random, report: Report) -> None:
        self._guild = guild
        self._rng = rng
        self._report = report
        self._log: list[tuple[float, str]] = []
        self._dead: list[_Silence] = []
        kinds: dict[str, tuple[int, Callable[[], Awaitable[None]]]] = {
            "dropped connections": (6, self._drop),
            "kicks": (1, guild.kick_bot),
            "moves to another server": (3, guild.move_server),
            "changes of region": (2, guild.change_region),
            "moves to another channel": (2, self._drag),
            "UDP silences that end": (2, self._silence_for_a_while),
            "drops without an event": (1, self._forget_bot),
            "new main sessions": (1, self._reidentify),
            "lost networks": (1, self._lose_network),
            "refusals": (2, lambda: self._for_a_while(Faults(refuses_connections=True))),
            "refused sessions": (2, lambda: self._for_a_while(Faults(closes_on_identify=4006))),
            "lost discoveries": (2, lambda: self._for_a_while(Faults(loses_discovery=True))),
            "comings and goings": (3, self._people_change),
        }
        if guild.call.mode.answers_regularly:  # elsewhere nobody would ever notice
            kinds["UDP silences"] = (1, self._silence)
        self._kinds = {name: cause for name, (_, cause) in kinds.items()}
        self._weights = [weight for weight, _ in kinds.values()]

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

    def causes(self, moment: float) -> set[Cause]:
        """What may keep speech from being heard, since then and in the ten seconds before."""
        kinds = {kind for when, kind in self._log if when > moment - 10.0}
        found = set(causes_of(self._guild.call.mode))
        if self._report.faults["moves to another channel"]:  # from then on, members are in both
            found.add(Cause.ELSEWHERE)
        return found.union(*(CAUSES.get(kind, set()) for kind in kinds))

    def were_hidden(self, moment: float) -> bool:
        """Whether UDP has been dead since then in a way that nothing showed."""
        answers = self._guild.call.mode.answers_regularly
        return any(silence.hides(moment, answers=answers) for silence in self._dead)

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

    def _dies(self) -> _Silence:
        """Note that what is sent over the present connection no longer arrives."""
        silence = _Silence(self._guild.call.sessions[-1], time.time())
        self._dead.append(silence)
        return silence

    async def _silence(self) -> None:
        self._dies()
        self._guild.call.udp_dies()

    async def _silence_for_a_while(self) -> None:
        silence = self._dies()
        self._guild.call.udp_dies()
        await asyncio.sleep(self._rng.uniform(1.5, 5.0))
        silence.session.deaf = silence.session.mute = False
        silence.ended = time.time()

    async def _forget_bot(self) -> None:
        self._dies()
        self._guild.forget_bot()

    async def _reidentify(self) -> None:
        await self._guild.reidentifies(stub_seconds=self._rng.uniform(0.2, 5.0))

    async def _lose_network(self) -> None:
        breaks, whole = self._rng.random() < 0.5, self._rng.random() < 0.5
        seconds = self._rng.uniform(1.0, 12.0)
        silence = None if breaks else self._dies()
        await self._guild.loses_network(seconds, breaks=breaks, whole=whole)
        if silence is not None:
            silence.ended = time.time()

    async def _for_a_while(self, faults: Faults) -> None:
        self._guild.call.faults = faults
        await self._guild.call.close(1006)
        await asyncio.sleep(self._rng.uniform(0.5, 3.0))
        self._guild.call.faults = Faults()


def main() -> int:
    """Run from the command line; exit with 1 if an item was lost, repeated or misplaced."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--modes", nargs="+", choices=MODES, default=["no udp", "pong", "slow"])
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = storm(
            Path(folder), seconds=60 * options.minutes, seed=options.seed, modes=options.modes
        )
        reports = asyncio.run(work)
    for mode, report in reports.items():
        print(f"{mode}\n{report}\n")  # noqa: T201 - what the program is for
    return 0 if all(report.is_good for report in reports.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
