"""The connection to the voice server breaks: speech goes on, or its owner is told."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.support.interrupted_speech import (
    LOST_SECONDS,
    all_is_well_again,
    end_of,
    is_heard,
    says_and_is_interrupted,
)
from tests.support.voice_guild import SPOKEN, eventually, last_word
from tests.support.voice_modes import Line, in_modes, side_by_side
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


async def test_speech_resumes_after_a_dropped_connection(tmp_path: Path) -> None:
    """Discord still shows the bot in the channel, so nobody disconnected it."""

    async def check(guild: VoiceGuild, ada: Speaker, *, code: int) -> None:
        answer = await says_and_is_interrupted(guild, ada, 2.5)
        await guild.call.close(code)
        await is_heard(guild, answer, 2.5)
        await all_is_well_again(guild, ada)

    lines = {
        f"{code}, {mode}": Line(mode, partial(check, code=code))
        for code, modes in CODES.items()
        for mode in modes
    }
    await side_by_side(tmp_path, lines)


async def test_the_end_of_speech_is_not_lost_silently(tmp_path: Path) -> None:
    """The link breaks just before the end, where lost speech looks like speech that was heard."""

    async def check(guild: VoiceGuild, ada: Speaker) -> None:
        answer = await says_and_is_interrupted(guild, ada, 2.0, after=1.5)
        await guild.call.close(1006)
        await is_heard(guild, answer, 2.0)

    await in_modes(tmp_path, ["no udp", "pong"], check)


HANDSHAKE_FAULTS = {
    "closes on identify": Faults(closes_on_identify=4006),
    "loses discovery": Faults(loses_discovery=True),
    "loses the session description": Faults(loses_session_description=True),
}


async def test_a_handshake_that_fails_is_tried_again(tmp_path: Path) -> None:
    async def check(guild: VoiceGuild, ada: Speaker, *, fault: Faults) -> None:
        answer = await says_and_is_interrupted(guild, ada, 2.5)
        guild.call.faults = fault
        await guild.call.close(4006)
        await eventually(lambda: len(guild.call.sessions) > 1, within=10.0)
        await asyncio.sleep(0.2)
        guild.call.faults = Faults()
        await is_heard(guild, answer, 2.5)
        await all_is_well_again(guild, ada)

    lines = {
        f"{name}, {mode}": Line(mode, partial(check, fault=fault))
        for name, fault in HANDSHAKE_FAULTS.items()
        for mode in ("no udp", "far")
    }
    await side_by_side(tmp_path, lines)


async def test_the_first_connection_is_tried_again_too(tmp_path: Path) -> None:
    async def check(guild: VoiceGuild, ada: Speaker) -> None:
        guild.call.faults = Faults(closes_on_identify=4006)
        answer = await ada.says(1, 1.0)
        await eventually(lambda: guild.call.sessions, within=10.0)
        await asyncio.sleep(0.2)
        guild.call.faults = Faults()
        await is_heard(guild, answer, 1.0)

    await in_modes(tmp_path, ["no udp", "slow"], check)


async def test_a_server_that_cannot_be_reached_is_given_up(tmp_path: Path) -> None:
    async def check(guild: VoiceGuild, ada: Speaker, *, first: bool) -> None:
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

    lines = {
        "never reached": Line("no udp", partial(check, first=True)),
        "never comes back": Line("no udp", partial(check, first=False)),
    }
    await side_by_side(tmp_path, lines)


async def test_a_server_that_refuses_for_a_while_is_tried_again(tmp_path: Path) -> None:
    async def check(guild: VoiceGuild, ada: Speaker) -> None:
        answer = await says_and_is_interrupted(guild, ada, 2.5)
        guild.call.faults = Faults(refuses_connections=True)
        await guild.call.close(1006)
        await asyncio.sleep(2.0)
        guild.call.faults = Faults()
        await is_heard(guild, answer, 2.5)
        await all_is_well_again(guild, ada)

    await in_modes(tmp_path, ["no udp"], check)


async def test_a_lost_network_is_not_taken_for_a_kick(tmp_path: Path) -> None:
    """After some seconds discord.py leaves the channel by itself, and Discord confirms that."""

    async def check(guild: VoiceGuild, ada: Speaker, *, seconds: float) -> None:
        answer = await says_and_is_interrupted(guild, ada, 2.5)
        await guild.loses_network(seconds)
        if seconds < 10:
            await is_heard(guild, answer, 2.5)
        else:
            told, heard = await end_of(guild, answer, 1, 2.5)
            assert "disconnected" not in told, told
            assert heard.missing <= LOST_SECONDS or SPOKEN not in told, told
        await all_is_well_again(guild, ada)

    lines = {
        f"{seconds:g} s, {mode}": Line(mode, partial(check, seconds=seconds))
        for seconds in (8.0, 30.0)
        for mode in ("no udp", "pong")
    }
    await side_by_side(tmp_path, lines)
