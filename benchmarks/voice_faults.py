"""Every fault of a voice connection in every mode of the voice server, one guild for each pair."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.voice_tally import LOST_SECONDS, Tally
from tests.support.discord_server import open_server
from tests.support.marked_speech import MarkedBackend, account, passages
from tests.support.voice_guild import SPOKEN, eventually, last_word, open_voice
from tests.support.voice_server.faults import Faults
from tests.support.voice_server.modes import MODES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from tests.support.discord_server import Answer
    from tests.support.voice_guild import Speaker, VoiceGuild
    from tests.support.voice_server.modes import Mode

FIRST, WAITING, NEXT = (1, 6.0), (2, 1.0), (3, 1.0)
"""The items: one is interrupted, one waits in the queue, one is asked for afterwards."""

INTERRUPTED_AFTER = 1.5
WAIT_SECONDS = 90.0
UDP_SECONDS = 10.0
"""Where pings are answered, dead UDP has to be noticed within this time."""

HEARTBEAT_SECONDS = 17.0
"""By then three heartbeats have gone without an acknowledgement."""

FIGHTING_SECONDS = 4.0
"""If the bot comes back against a moderator's will, it does so within this time."""


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong, and what may follow.

    Attributes:
        cause: Causes it, while the first item is heard.
        throws_out: Whether a moderator or Discord wants the bot out of the channel.
        drags: Whether the bot is in another channel afterwards.
        noticed_within: How many seconds after its cause it must be noticed in a mode. Speech that
            ends before may be lost unsaid.
        lasts: Whether it lasts until the bot connects anew.
        resumes: Whether speech must go on afterwards. Otherwise it may end with a sentence.
    """

    cause: Callable[[VoiceGuild], Awaitable[None]]
    throws_out: bool = False
    drags: bool = False
    noticed_within: Callable[[Mode], float] = lambda _mode: 0.0
    lasts: bool = False
    resumes: bool = False


def _closes(code: int) -> Fault:
    return Fault(lambda guild: guild.call.close(code), resumes=True)


def _fails(faults: Faults, *, seconds: float = 2.0) -> Fault:
    async def cause(guild: VoiceGuild) -> None:
        guild.call.faults = faults
        await guild.call.close(1006)
        await asyncio.sleep(seconds)
        guild.call.faults = Faults()

    return Fault(cause, resumes=True)


def _udp_dies(*, to_server: bool, to_bot: bool, seconds: float | None = None) -> Fault:
    """UDP dies, for ever if no time is given. Where pings are answered, that must be noticed."""

    async def cause(guild: VoiceGuild) -> None:
        guild.call.udp_dies(to_server=to_server, to_bot=to_bot)
        if seconds is not None:
            await asyncio.sleep(seconds)
            guild.call.udp_revives()

    def noticed_within(mode: Mode) -> float:
        if not to_server:
            return 0.0  # everything arrives
        return UDP_SECONDS if seconds is None and mode.answers_regularly else math.inf

    return Fault(cause, noticed_within=noticed_within, lasts=seconds is None)


async def _forgets(guild: VoiceGuild) -> None:
    guild.forget_bot()


FAULTS = {
    "closed with 1006": _closes(1006),
    "closed with 4006": _closes(4006),
    "closed with 4009": _closes(4009),
    "closed with 4014, no move": _closes(4014),
    "closed with 4015": _closes(4015),
    "closed with 4022, no news": _closes(4022),
    "closed with 4021": Fault(lambda guild: guild.call.close(4021), throws_out=True),
    "kicked": Fault(lambda guild: guild.kick_bot(), throws_out=True),
    "call ended": Fault(lambda guild: guild.kick_bot(code=4022), throws_out=True),
    "moved to another server": Fault(lambda guild: guild.move_server(), resumes=True),
    "region changed": Fault(lambda guild: guild.change_region(), resumes=True),
    "dragged": Fault(lambda guild: guild.move_bot(guild.studio), drags=True),
    "identified anew": Fault(lambda guild: guild.reidentifies(), resumes=True),
    "identified anew, a stub for 12 s": Fault(
        lambda guild: guild.reidentifies(stub_seconds=12.0), resumes=True
    ),
    "server refuses for 2 s": _fails(Faults(refuses_connections=True)),
    "session refused for 2 s": _fails(Faults(closes_on_identify=4006)),
    "discovery lost for 2 s": _fails(Faults(loses_discovery=True)),
    "description lost for 2 s": _fails(Faults(loses_session_description=True)),
    "network lost for 3 s": Fault(lambda guild: guild.loses_network(3.0), resumes=True),
    "network lost for 12 s": Fault(lambda guild: guild.loses_network(12.0)),
    "network lost for 30 s": Fault(lambda guild: guild.loses_network(30.0)),
    "network hangs for 4 s": Fault(
        lambda guild: guild.loses_network(4.0, breaks=False), noticed_within=lambda _mode: math.inf
    ),
    "UDP dead for 3 s": _udp_dies(to_server=True, to_bot=True, seconds=3.0),
    "UDP dead": _udp_dies(to_server=True, to_bot=True),
    "UDP dead to the server": _udp_dies(to_server=True, to_bot=False),
    "UDP dead to the bot": _udp_dies(to_server=False, to_bot=True),
    "forgotten by Discord": Fault(
        _forgets, noticed_within=lambda _mode: HEARTBEAT_SECONDS, lasts=True
    ),
}


async def faults_in_modes(folder: Path, cases: Sequence[tuple[str, str]]) -> dict[str, Tally]:
    """Run pairs of a mode and a fault at once; return what was found, by mode."""
    async with (
        open_server(folder, MarkedBackend()) as server,
        open_voice(server, guilds=len(cases)) as world,
    ):
        for guild, (mode, _) in zip(world.guilds, cases, strict=True):
            guild.call.mode = MODES[mode]
        people = [
            (await guild.speaker("ada"), await guild.speaker("grace")) for guild in world.guilds
        ]
        found = await asyncio.gather(
            *(
                _Case(guild, *pair, fault).run()
                for guild, pair, (_, fault) in zip(world.guilds, people, cases, strict=True)
            )
        )
    tallies = {mode: Tally() for mode, _ in cases}
    for (mode, _), tally in zip(cases, found, strict=True):
        tallies[mode].add(tally)
    return tallies


class _Case:
    """One fault in one guild."""

    def __init__(self, guild: VoiceGuild, ada: Speaker, grace: Speaker, fault: str) -> None:
        self._guild = guild
        self._ada = ada
        self._grace = grace
        self._name = fault
        self._fault = FAULTS[fault]
        self._tally = Tally()

    async def run(self) -> Tally:
        try:
            await self._run()
        except (AssertionError, TimeoutError) as error:
            self._tally.lost += 1
            self._tally.stories.append(f"{self._name}: {error or 'it takes too long'}")
        return self._tally

    async def _run(self) -> None:
        guild, fault = self._guild, self._fault
        first = await self._ada.says(*FIRST)
        await guild.call.begins(within=30.0)
        await asyncio.sleep(INTERRUPTED_AFTER)
        waiting = await self._grace.says(*WAITING)
        await eventually(lambda: waiting.told, within=10.0)
        connections = len(guild.call.sessions)
        noticed_within = fault.noticed_within(guild.call.mode)
        noticed_at = time.time() + noticed_within
        await fault.cause(guild)
        for (item, seconds), answer in ((FIRST, first), (WAITING, waiting)):
            await self._judge(item, seconds, answer, noticed_at)
        if fault.throws_out:
            await asyncio.sleep(FIGHTING_SECONDS)
            if guild.bot_is_in is not None or len(guild.call.sessions) > connections:
                self._tally.elsewhere += 1
                self._tally.stories.append(f"{self._name}: the bot came back")
        if fault.drags:
            await self._judge_drag()
        if math.isfinite(noticed_within):
            await asyncio.sleep(max(0.0, noticed_at + 1.0 - time.time()))
        await self._judge_next(is_hidden=fault.lasts and math.isinf(noticed_within))

    async def _judge(self, item: int, seconds: float, answer: Answer, noticed_at: float) -> None:
        told = await last_word(answer, within=WAIT_SECONDS)
        is_hidden = time.time() < noticed_at
        heard = await self._guild.call.heard(seconds=0.3)
        known = await asyncio.to_thread(account, heard, item, seconds)
        story = f"{self._name}, item {item}"
        self._tally.judge_faulty(story, known, told, is_hidden=is_hidden)
        if self._fault.resumes and known.missing > LOST_SECONDS and SPOKEN not in (told or ""):
            self._tally.stories.append(f"{story}: could have been heard; told: {told}")

    async def _judge_drag(self) -> None:
        guild = self._guild
        heard = (await guild.call.heard(seconds=0.5)).within(guild.studio.id)
        items = sorted({row.item for row in await asyncio.to_thread(passages, heard)})
        if items:
            self._tally.elsewhere += 1
            self._tally.stories.append(f"{self._name}: items {items} are heard elsewhere")
        if guild.bot_is_in != guild.studio.id:
            self._tally.elsewhere += 1
            self._tally.stories.append(f"{self._name}: the bot left where it was moved to")

    async def _judge_next(self, *, is_hidden: bool) -> None:
        """The next item must be heard, unless nothing shows that the line is dead.

        It is the line's first healthy one, so it may have the reconnection that a mode permits.
        """
        guild = self._guild
        there = guild.studio if guild.bot_is_in == guild.studio.id else guild.lounge
        await self._ada.goes_to(there)
        item, seconds = NEXT
        told = await last_word(await self._ada.says(item, seconds), within=WAIT_SECONDS)
        heard = await guild.call.heard(seconds=0.3)
        known = await asyncio.to_thread(account, heard, item, seconds)
        self._tally.judge_faulty(
            f"{self._name}, next item",
            known,
            told,
            is_hidden=is_hidden,
            faults=int(guild.call.mode.may_reconnect_once),
        )
        if known.missing > LOST_SECONDS and not is_hidden:
            self._tally.stories.append(f"{self._name}: the next item is not heard; told: {told}")
