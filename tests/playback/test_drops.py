"""The connection to the voice server breaks: speech goes on, or its owner is told."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.playback.test_kicks import stays_out
from tests.support.interrupted_speech import (
    LOST_SECONDS,
    UDP_REPEATED_SECONDS,
    all_is_well_again,
    end_of,
    is_heard,
    says_and_is_interrupted,
)
from tests.support.voice_guild import SPOKEN, eventually, last_word
from tests.support.voice_modes import Case, side_by_side
from tests.support.voice_server.faults import Faults

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.voice_guild import Speaker, VoiceGuild

pytestmark = [pytest.mark.realtime, pytest.mark.slow]


CODES = {
    1006: ["no udp", "far", "slow"],
    4006: ["no udp", "talkers", "everything"],
    4009: ["no udp"],
    4014: ["no udp"],
    4015: ["no udp", "pong"],
    4022: ["no udp"],
}


async def breaks(guild: VoiceGuild, ada: Speaker, *, code: int) -> None:
    answer = await says_and_is_interrupted(guild, ada, 2.5)
    await guild.call.close(code)
    await is_heard(guild, answer, 2.5)
    await all_is_well_again(guild, ada)


async def breaks_at_the_end(guild: VoiceGuild, ada: Speaker) -> None:
    """Just before the end, speech that was lost looks like speech that was heard."""
    answer = await says_and_is_interrupted(guild, ada, 2.0, after=1.5)
    await guild.call.close(1006)
    await is_heard(guild, answer, 2.0)


@pytest.mark.lasts(20)
async def test_speech_resumes_after_a_dropped_connection(tmp_path: Path) -> None:
    """Discord still shows the bot in the channel, so nobody disconnected it."""
    cases = {
        f"{code}, {mode}": Case(mode, partial(breaks, code=code))
        for code, modes in CODES.items()
        for mode in modes
    }
    cases |= {f"at the end, {mode}": Case(mode, breaks_at_the_end) for mode in ("no udp", "pong")}
    await side_by_side(tmp_path, cases)


HANDSHAKE_FAULTS = {
    "closes on identify": Faults(closes_on_identify=4006),
    "loses discovery": Faults(loses_discovery=True),
    "loses the session description": Faults(loses_session_description=True),
}


async def fails_for_a_while(guild: VoiceGuild, ada: Speaker, *, fault: Faults) -> None:
    answer = await says_and_is_interrupted(guild, ada, 2.5)
    guild.call.faults = fault
    await guild.call.close(4006)
    await eventually(lambda: len(guild.call.sessions) > 1)
    await asyncio.sleep(0.2)
    guild.call.faults = Faults()
    await is_heard(guild, answer, 2.5)
    await all_is_well_again(guild, ada)


async def fails_at_first(guild: VoiceGuild, ada: Speaker) -> None:
    guild.call.faults = Faults(closes_on_identify=4006)
    answer = await ada.says(1, 1.0)
    await eventually(lambda: guild.call.sessions)
    await asyncio.sleep(0.2)
    guild.call.faults = Faults()
    await is_heard(guild, answer, 1.0)


async def refuses_for_a_while(guild: VoiceGuild, ada: Speaker) -> None:
    answer = await says_and_is_interrupted(guild, ada, 2.5)
    guild.call.faults = Faults(refuses_connections=True)
    await guild.call.close(1006)
    await asyncio.sleep(2.0)
    guild.call.faults = Faults()
    await is_heard(guild, answer, 2.5)
    await all_is_well_again(guild, ada)


@pytest.mark.lasts(20)
async def test_a_handshake_that_fails_is_tried_again(tmp_path: Path) -> None:
    cases = {
        f"{name}, {mode}": Case(mode, partial(fails_for_a_while, fault=fault))
        for name, fault in HANDSHAKE_FAULTS.items()
        for mode in ("no udp", "far")
    }
    cases |= {f"the first, {mode}": Case(mode, fails_at_first) for mode in ("no udp", "slow")}
    cases["refuses for a while"] = Case("no udp", refuses_for_a_while)
    await side_by_side(tmp_path, cases)


async def cannot_be_reached(guild: VoiceGuild, ada: Speaker, *, first: bool) -> None:
    refuses = Faults(refuses_connections=True)
    if first:
        guild.call.faults = refuses
        answer = await ada.says(1, 1.0)
    else:
        answer = await says_and_is_interrupted(guild, ada, 2.5)
        guild.call.faults = refuses
        await guild.call.close(1006)
    told = await last_word(answer) or ""
    assert ("couldn't connect" if first else "lost the connection") in told, told
    assert guild.bot_is_in is None, "it stays in a channel in which it cannot speak"
    guild.call.faults = Faults()
    await all_is_well_again(guild, ada)


async def loses_network(guild: VoiceGuild, ada: Speaker, *, seconds: float) -> None:
    answer = await says_and_is_interrupted(guild, ada, 2.5)
    await guild.loses_network(seconds)
    if seconds < 10:
        await is_heard(guild, answer, 2.5)
    else:
        told, heard = await end_of(guild, answer, 1, 2.5)
        assert "disconnected" not in told, told
        assert heard.missing <= LOST_SECONDS or SPOKEN not in told, told
    await all_is_well_again(guild, ada)


async def is_cut_off(guild: VoiceGuild, ada: Speaker, *, seconds: float) -> None:
    """The whole network hangs, and what the bot asked for meanwhile reaches Discord afterwards.

    What is told of speech that began just before is true, and the bot stays until it's kicked.
    """
    grace = await guild.speaker("grace")
    answer = await says_and_is_interrupted(guild, ada, 5.0)
    waiting = await grace.says(3, 1.0)
    await guild.loses_network(seconds, breaks=False, whole=True)
    for each, item, length in ((answer, 1, 5.0), (waiting, 3, 1.0)):
        told, heard = await end_of(guild, each, item, length)
        assert "disconnected" not in told, told
        assert heard.missing <= LOST_SECONDS or SPOKEN not in told, f"{heard.missing:.2f} s; {told}"
        assert heard.repeated <= UDP_REPEATED_SECONDS, f"{heard.repeated:.2f} s are heard twice"
    await all_is_well_again(guild, ada)
    await guild.kick_bot()
    await stays_out(guild, len(guild.call.sessions))


@pytest.mark.lasts(45)
async def test_a_network_that_hangs_is_noticed_and_not_taken_for_a_kick(tmp_path: Path) -> None:
    cases = {
        f"{seconds:g} s, {mode}": Case(mode, partial(is_cut_off, seconds=seconds))
        for seconds in (10.0, 22.0)
        for mode in ("no udp", "far", "pong")
    }
    await side_by_side(tmp_path, cases)


@pytest.mark.lasts(45)
async def test_a_server_that_cannot_be_reached_is_given_up_and_not_taken_for_a_kick(
    tmp_path: Path,
) -> None:
    """Where the network is lost, discord.py leaves the channel by itself after some seconds, and
    Discord confirms that."""
    cases = {
        "never reached": Case("no udp", partial(cannot_be_reached, first=True)),
        "never comes back": Case("no udp", partial(cannot_be_reached, first=False)),
    }
    cases |= {
        f"lost for {seconds:g} s, {mode}": Case(mode, partial(loses_network, seconds=seconds))
        for seconds in (8.0, 30.0)
        for mode in ("no udp", "pong")
    }
    await side_by_side(tmp_path, cases)
