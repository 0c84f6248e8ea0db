"""The bot leaves, because it was asked to or because nobody needs it: whatever it does just then.

What comes afterwards, as a kick does, is judged as if it had never been there before.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.playback.test_kicks import stays_out
from tests.support.interrupted_speech import all_is_well_again, is_heard, says_and_is_interrupted
from tests.support.marked_speech import MAX_SECONDS
from tests.support.voice_guild import SPOKEN, eventually, last_word
from tests.support.voice_modes import Case, in_modes, side_by_side
from tests.support.voice_server.faults import Faults
from tests.support.voice_server.modes import Mode, Pings

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.discord_server import Answer
    from tests.support.voice_guild import Speaker, VoiceGuild
    from tests.support.voice_modes import Check

pytestmark = [pytest.mark.realtime, pytest.mark.slow]

MODES = ["no udp", "far", "slow"]
SENT_AWAY = "ada sent me away with `/leave`."
LEAVING_SECONDS = 8.0
"""A bot that is in a handshake leaves within this time, though messages take 1.5 s."""

GIVING_UP_SECONDS = 15.0
"""In a handshake that gets no answer, the bot leaves once it gives that up, after 10 s."""

IDLE_SECONDS = 6.0
IDLE_MINUTES = IDLE_SECONDS / 60


async def leave(guild: VoiceGuild, ada: Speaker, *, within: float = 30.0) -> None:
    """Ada uses `/leave`, and the bot leaves."""
    async with guild.turns:
        left = await ada.types("leave")
    told = await last_word(left, within=within)
    assert told is not None, f"/leave is not answered within {within:g} s"
    assert told.startswith("I left"), told


async def nothing_is_heard(guild: VoiceGuild, *answers: Answer, since: float = 0.0) -> None:
    """Their owners are told why, and the bot stays out."""
    for answer in answers:
        told = await last_word(answer, within=20.0)
        assert told == SENT_AWAY, told
    await stays_out(guild, len(guild.call.sessions))
    heard = await guild.call.heard(since=since)
    assert not heard.audible().frames


async def leaves_while_it_joins(guild: VoiceGuild, ada: Speaker, *, faults: Faults) -> None:
    """Also for who has called the bot before, and waits for their turn."""
    grace = await guild.speaker("grace")
    guild.call.faults = faults
    answer = await ada.says(1, 1.0)
    waiting = [await grace.says(3, 1.0), await ada.says(4, 1.0)]
    await eventually(lambda: guild.bot_is_in is not None)
    await asyncio.sleep(0.3)
    leaving = asyncio.create_task(leave(guild, ada))
    await asyncio.sleep(0.1)
    guild.call.faults = Faults()
    await leaving
    await nothing_is_heard(guild, answer, *waiting)
    await all_is_well_again(guild, ada)


async def leaves_while_the_call_moves(guild: VoiceGuild, ada: Speaker) -> None:
    """Whoever calls the bot then waits until it has moved."""
    assert SPOKEN in (await last_word(await ada.says(3, 0.6)) or "")
    before = time.time()
    guild.call.mode = Mode(new_server_after=(4.0, 4.0))
    moving = asyncio.create_task(guild.change_region())
    await asyncio.sleep(1.0)
    answer = await ada.says(1, 1.0)
    await asyncio.sleep(1.0)
    await leave(guild, ada)
    await moving
    await nothing_is_heard(guild, answer, since=before)
    await all_is_well_again(guild, ada)


@pytest.mark.lasts(30)
async def test_a_bot_that_is_sent_away_while_it_joins_stays_out(tmp_path: Path) -> None:
    faulty = {
        "in a handshake": Faults(),
        "refused": Faults(closes_on_identify=4006),
        "unreachable": Faults(loses_discovery=True),
    }
    cases = {
        f"{name}, {mode}": Case(mode, partial(leaves_while_it_joins, faults=faults))
        for name, faults in faulty.items()
        for mode in (["slow", "everything"] if name == "in a handshake" else MODES)
    }
    cases["in a move"] = Case("no udp", leaves_while_the_call_moves)
    await side_by_side(tmp_path, cases)


async def leaves_while_it_joins_again(guild: VoiceGuild, ada: Speaker) -> None:
    """Nobody answers pings any more, so the bot leaves, which takes a while, to come back."""
    answer = await says_and_is_interrupted(guild, ada, MAX_SECONDS, after=3.5)
    guild.call.udp_dies()
    guild.call.mode = Mode(pings=Pings.PONG, round_trip=(1.5, 1.5))
    await eventually(lambda: not guild.call.is_connected)
    connections = len(guild.call.sessions)
    await leave(guild, ada, within=LEAVING_SECONDS)
    assert await last_word(answer) == SENT_AWAY
    await stays_out(guild, connections)
    guild.call.mode = Mode()
    await all_is_well_again(guild, ada)


async def leaves_while_it_reconnects(guild: VoiceGuild, ada: Speaker) -> None:
    answer = await says_and_is_interrupted(guild, ada, MAX_SECONDS)
    guild.call.faults = Faults(loses_discovery=True)
    await guild.call.close(4006)
    await eventually(lambda: len(guild.call.sessions) > 1)
    connections = len(guild.call.sessions)
    leaving = asyncio.create_task(leave(guild, ada, within=GIVING_UP_SECONDS))
    await asyncio.sleep(0.1)
    guild.call.faults = Faults()
    await leaving
    assert await last_word(answer) == SENT_AWAY
    await stays_out(guild, connections)
    await all_is_well_again(guild, ada)


@pytest.mark.lasts(35)
async def test_a_bot_that_is_sent_away_while_it_reconnects_stays_out(tmp_path: Path) -> None:
    cases = {f"reconnects, {mode}": Case(mode, leaves_while_it_reconnects) for mode in MODES}
    cases |= {"joins again": Case("pong", leaves_while_it_joins_again)}
    await side_by_side(tmp_path, cases)


async def is_kicked(guild: VoiceGuild, ada: Speaker) -> None:
    """Ada has the bot speak, and a moderator disconnects it."""
    answer = await ada.says(1, MAX_SECONDS)
    await eventually(lambda: guild.call.is_speaking)
    await asyncio.sleep(1.0)
    connections = len(guild.call.sessions)
    await guild.kick_bot()
    told = await last_word(answer, within=20.0)
    assert "disconnected" in (told or ""), told
    await stays_out(guild, connections)


async def is_kicked_in_a_handshake(guild: VoiceGuild, ada: Speaker) -> None:
    connections = len(guild.call.sessions)
    guild.call.faults = Faults(loses_session_description=True)
    answer = await ada.says(1, 1.0)
    await eventually(lambda: len(guild.call.sessions) > connections)
    await asyncio.sleep(0.3)
    guild.call.faults = Faults()
    await guild.kick_bot()
    told = await last_word(answer)
    assert "disconnected" in (told or ""), told
    await stays_out(guild, connections + 1)


@pytest.mark.lasts(25)
async def test_a_kick_counts_after_the_bot_left_and_came_again(tmp_path: Path) -> None:
    async def check(guild: VoiceGuild, ada: Speaker, *, kicked: Check) -> None:
        assert SPOKEN in (await last_word(await ada.says(3, 0.6)) or "")
        await leave(guild, ada)
        await eventually(lambda: guild.bot_is_in is None)
        await kicked(guild, ada)
        await all_is_well_again(guild, ada)

    cases = {mode: Case(mode, partial(check, kicked=is_kicked)) for mode in [*MODES, "pong"]}
    cases |= {
        f"in a handshake, {mode}": Case(mode, partial(check, kicked=is_kicked_in_a_handshake))
        for mode in MODES
    }
    await side_by_side(tmp_path, cases)


@pytest.mark.lasts(45)
async def test_a_kick_counts_after_discord_had_forgotten_the_bot(tmp_path: Path) -> None:
    """The bot has asked to leave, and Discord, which had dropped it before, never answered that."""

    async def check(guild: VoiceGuild, ada: Speaker) -> None:
        assert SPOKEN in (await last_word(await ada.says(3, 0.6)) or "")
        guild.forget_bot()
        await eventually(lambda: len(guild.call.sessions) > 1, within=40.0)
        await is_kicked(guild, ada)
        await all_is_well_again(guild, ada)

    await in_modes(tmp_path, MODES, check)


@pytest.mark.lasts(40)
async def test_a_bot_that_left_because_it_was_idle_is_heard_again(tmp_path: Path) -> None:
    """However long ago that was; and a kick counts then too."""

    async def check(guild: VoiceGuild, ada: Speaker) -> None:
        assert SPOKEN in (await last_word(await ada.says(3, 0.6)) or "")
        await eventually(lambda: guild.bot_is_in is None)
        await asyncio.sleep(IDLE_SECONDS + 1.0)
        await is_heard(guild, await ada.says(2, 1.0), 1.0, item=2)
        await is_kicked(guild, ada)

    cases = {mode: Case(mode, check) for mode in [*MODES, "everything"]}
    await side_by_side(tmp_path, cases, voice_idle_minutes=IDLE_MINUTES)
