"""Every fault of a voice connection in every mode of the voice server, one guild for each pair."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.voice_tally import LOST_SECONDS, Tally
from tests.support.discord_server import NO_LIMITS, open_server
from tests.support.explanations import Cause, causes_of
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

FIRST, WAITING, NEXT, EARLIER = (1, 6.0), (2, 1.0), (3, 1.0), (4, 0.6)
"""The items: one is interrupted, one waits in the queue, one is asked for afterwards, and one
before, where the bot has to have been in the channel once."""

INTERRUPTED_AFTER = 1.5
WAIT_SECONDS = 90.0
UDP_SECONDS = 10.0
"""Where pings are answered, dead UDP has to be noticed within this time."""

HEARTBEAT_SECONDS = 17.0
"""By then three heartbeats have gone without an acknowledgement."""

FIGHTING_SECONDS = 4.0
"""If the bot comes back against a moderator's will, it does so within this time."""

HANDSHAKE_SECONDS = 0.2
"""After this time, the bot is in its handshake, if that takes as long as a real one."""

IDLE_SECONDS = 6.0
"""How long the bot stays without speech, where that matters. It looks every five seconds."""

LOSSES = (Cause.LOSS, Cause.SILENCE)


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong, and what may follow.

    Attributes:
        cause: Causes it, while the first item is heard.
        causes: What may be told of it instead of speech being heard.
        before: Happens before the first item is asked for, or nothing.
        at_once: Whether it is caused while the bot joins, and nothing is heard yet.
        idle_seconds: How long the bot stays in a channel without speech.
        throws_out: Whether a moderator or Discord wants the bot out of the channel.
        drags: Whether the bot is in another channel afterwards.
        noticed_within: How many seconds after its cause it must be noticed in a mode. Speech that
            ends before may be lost unsaid.
        lasts: Whether it lasts until the bot connects anew.
        resumes: Whether speech must go on afterwards. Otherwise it may end with a sentence.
    """

    cause: Callable[[VoiceGuild], Awaitable[None]]
    causes: tuple[Cause, ...] = ()
    before: Callable[[VoiceGuild, Speaker], Awaitable[None]] | None = None
    at_once: bool = False
    idle_seconds: float = 300.0
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

    return Fault(cause, (Cause.LOSS,), resumes=True)


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

    return Fault(cause, (Cause.SILENCE,), noticed_within=noticed_within, lasts=seconds is None)


async def _forgets(guild: VoiceGuild) -> None:
    guild.forget_bot()


async def _nothing(_guild: VoiceGuild) -> None:
    """The fault is what happened before."""


async def _speaks(ada: Speaker) -> None:
    told = await last_word(await ada.says(*EARLIER), within=WAIT_SECONDS)
    if SPOKEN not in (told or ""):
        raise AssertionError(f"the item before is not heard; told: {told}")


async def _left(guild: VoiceGuild, ada: Speaker) -> None:
    """The bot was there, and was sent away."""
    await _speaks(ada)
    await guild.send_bot_away()
    await eventually(lambda: guild.bot_is_in is None)


async def _was_idle(guild: VoiceGuild, ada: Speaker) -> None:
    """The bot was there, and left by itself, longer ago than it stays without speech."""
    await _speaks(ada)
    await eventually(lambda: guild.bot_is_in is None)
    await asyncio.sleep(IDLE_SECONDS + 1.0)


async def _leaves_in_handshake(guild: VoiceGuild) -> None:
    """The handshake fails, but the next one would not."""
    leaving = asyncio.create_task(guild.send_bot_away())
    await asyncio.sleep(0.2)
    guild.call.faults = Faults()
    await leaving


async def _leaves_in_repair(guild: VoiceGuild) -> None:
    connections = len(guild.call.sessions)
    guild.call.faults = Faults(loses_discovery=True)
    await guild.call.close(4006)
    await eventually(lambda: len(guild.call.sessions) > connections)
    await _leaves_in_handshake(guild)


def _leaves_while_joining(faults: Faults) -> Fault:
    async def before(guild: VoiceGuild, _ada: Speaker) -> None:
        guild.call.faults = faults

    return Fault(
        _leaves_in_handshake, (Cause.SENT_AWAY,), before=before, at_once=True, throws_out=True
    )


FAULTS = {
    "closed with 1006": _closes(1006),
    "closed with 4006": _closes(4006),
    "closed with 4009": _closes(4009),
    "closed with 4014, no move": _closes(4014),
    "closed with 4015": _closes(4015),
    "closed with 4022, no news": _closes(4022),
    "closed with 4021": Fault(
        lambda guild: guild.call.close(4021), (Cause.RATE_LIMIT,), throws_out=True
    ),
    "kicked": Fault(lambda guild: guild.kick_bot(), (Cause.KICK,), throws_out=True),
    "kicked after it left and came again": Fault(
        lambda guild: guild.kick_bot(), (Cause.KICK,), before=_left, throws_out=True
    ),
    "call ended": Fault(lambda guild: guild.kick_bot(code=4022), (Cause.KICK,), throws_out=True),
    "sent away while it joins": _leaves_while_joining(Faults()),
    "sent away while it cannot join": _leaves_while_joining(Faults(closes_on_identify=4006)),
    "sent away while it reconnects": Fault(_leaves_in_repair, (Cause.SENT_AWAY,), throws_out=True),
    "joins after the idle time": Fault(
        _nothing, before=_was_idle, idle_seconds=IDLE_SECONDS, resumes=True
    ),
    "moved to another server": Fault(lambda guild: guild.move_server(), resumes=True),
    "region changed": Fault(lambda guild: guild.change_region(), resumes=True),
    "dragged": Fault(lambda guild: guild.move_bot(guild.studio), (Cause.DRAG,), drags=True),
    "identified anew": Fault(lambda guild: guild.reidentifies(), resumes=True),
    "identified anew, a stub for 12 s": Fault(
        lambda guild: guild.reidentifies(stub_seconds=12.0), resumes=True
    ),
    "server refuses for 2 s": _fails(Faults(refuses_connections=True)),
    "session refused for 2 s": _fails(Faults(closes_on_identify=4006)),
    "discovery lost for 2 s": _fails(Faults(loses_discovery=True)),
    "description lost for 2 s": _fails(Faults(loses_session_description=True)),
    "network lost for 3 s": Fault(lambda guild: guild.loses_network(3.0), LOSSES, resumes=True),
    "network lost for 12 s": Fault(lambda guild: guild.loses_network(12.0), LOSSES),
    "network lost for 30 s": Fault(lambda guild: guild.loses_network(30.0), LOSSES),
    "network hangs for 4 s": Fault(
        lambda guild: guild.loses_network(4.0, breaks=False),
        LOSSES,
        noticed_within=lambda _mode: math.inf,
    ),
    "whole network hangs for 12 s": Fault(
        lambda guild: guild.loses_network(12.0, breaks=False, whole=True), LOSSES
    ),
    "whole network hangs for 30 s": Fault(
        lambda guild: guild.loses_network(30.0, breaks=False, whole=True), LOSSES
    ),
    "UDP dead for 3 s": _udp_dies(to_server=True, to_bot=True, seconds=3.0),
    "UDP dead": _udp_dies(to_server=True, to_bot=True),
    "UDP dead to the server": _udp_dies(to_server=True, to_bot=False),
    "UDP dead to the bot": _udp_dies(to_server=False, to_bot=True),
    "forgotten by Discord": Fault(
        _forgets, LOSSES, noticed_within=lambda _mode: HEARTBEAT_SECONDS, lasts=True
    ),
}


async def faults_in_modes(folder: Path, cases: Sequence[tuple[str, str]]) -> dict[str, Tally]:
    """Run pairs of a mode and a fault at once; return what was found, by mode.

    Faults that need another idle time are run one after the other.
    """
    tallies = {mode: Tally() for mode, _ in cases}
    for idle_seconds in sorted({FAULTS[fault].idle_seconds for _, fault in cases}):
        chosen = [case for case in cases if FAULTS[case[1]].idle_seconds == idle_seconds]
        own = folder / f"{idle_seconds:g}"
        await asyncio.to_thread(own.mkdir)
        found = await _run_cases(own, chosen, idle_seconds)
        for (mode, _), tally in zip(chosen, found, strict=True):
            tallies[mode].add(tally)
    return tallies


async def _run_cases(
    folder: Path, cases: Sequence[tuple[str, str]], idle_seconds: float
) -> list[Tally]:
    async with (
        open_server(
            folder, MarkedBackend(), voice_idle_minutes=idle_seconds / 60, **NO_LIMITS
        ) as server,
        open_voice(server, guilds=len(cases)) as world,
    ):
        for guild, (mode, _) in zip(world.guilds, cases, strict=True):
            guild.call.mode = MODES[mode]
        people = [
            (await guild.speaker("ada"), await guild.speaker("grace")) for guild in world.guilds
        ]
        return await asyncio.gather(
            *(
                _Case(guild, *pair, fault).run()
                for guild, pair, (_, fault) in zip(world.guilds, people, cases, strict=True)
            )
        )


class _Case:
    """One fault in one guild."""

    def __init__(self, guild: VoiceGuild, ada: Speaker, grace: Speaker, fault: str) -> None:
        self._guild = guild
        self._ada = ada
        self._grace = grace
        self._name = fault
        self._fault = FAULTS[fault]
        self._causes = {*self._fault.causes, *causes_of(guild.call.mode)}
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
        if fault.before is not None:
            await fault.before(guild, self._ada)
        began = time.time()
        first = await self._ada.says(*FIRST)
        if fault.at_once:
            await eventually(lambda: guild.bot_is_in is not None)
        else:
            await guild.call.begins(within=30.0, since=began)
            await asyncio.sleep(INTERRUPTED_AFTER)
        waiting = await self._grace.says(*WAITING)
        if fault.at_once:
            await asyncio.sleep(HANDSHAKE_SECONDS)
        else:
            await eventually(lambda: waiting.told, within=10.0)
        noticed_within = fault.noticed_within(guild.call.mode)
        noticed_at = time.time() + noticed_within
        await fault.cause(guild)
        connections = len(guild.call.sessions)
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
        self._tally.judge_faulty(story, known, told, is_hidden=is_hidden, causes=self._causes)
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
            causes=self._causes,
            faults=int(guild.call.mode.may_reconnect_once),
        )
        if known.missing > LOST_SECONDS and not is_hidden:
            self._tally.stories.append(f"{self._name}: the next item is not heard; told: {told}")
