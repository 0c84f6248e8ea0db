"""A healthy line in every mode of the voice server: nothing is repeated, nothing reconnects."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.support.interrupted_speech import LOST_SECONDS, UDP_REPEATED_SECONDS, end_of
from tests.support.marked_speech import repeated_seconds
from tests.support.voice_guild import SPOKEN, last_word
from tests.support.voice_modes import in_modes
from tests.support.voice_server.modes import MODES

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.voice_guild import Speaker, VoiceGuild

pytestmark = [pytest.mark.realtime, pytest.mark.slow]

LINE = ((1, 5.0, 1.5), (2, 0.6, 3.5), (3, 1.5, 0.0))
"""A long item, a short one and another, with their lengths and the pauses after them: 13 s."""

TORN_SECONDS = 0.03
"""Opus needs a frame to begin anew after silence, and may blur it."""

CALM_MODES = [name for name, mode in MODES.items() if mode.talk is None]
MODES_WITH_TALKERS = [name for name, mode in MODES.items() if mode.talk is not None]


async def line(guild: VoiceGuild, ada: Speaker) -> None:
    """Everything is heard once, by one connection."""
    may_reconnect = guild.call.mode.may_reconnect_once
    for item, seconds, pause in LINE:
        before = len(guild.call.sessions)
        told, heard = await end_of(guild, await ada.says(item, seconds), item, seconds)
        assert heard.missing <= TORN_SECONDS, f"{heard.missing:.2f} s of item {item} are missing"
        assert SPOKEN in told, told
        repeated = UDP_REPEATED_SECONDS if may_reconnect else TORN_SECONDS
        assert heard.repeated <= repeated, f"{heard.repeated:.2f} s of item {item} are repeated"
        reconnections = len(guild.call.sessions) - max(1, before)
        assert reconnections <= int(may_reconnect), f"it reconnects {reconnections} times"
        await asyncio.sleep(pause)


@pytest.mark.lasts(20)
@pytest.mark.parametrize("half", [0, 1])
async def test_a_healthy_line(tmp_path: Path, half: int) -> None:
    await in_modes(tmp_path, CALM_MODES[half::2], line)


@pytest.mark.lasts(20)
async def test_a_healthy_line_while_others_talk(tmp_path: Path) -> None:
    await in_modes(tmp_path, MODES_WITH_TALKERS, line)


async def test_others_talk_until_the_bot_speaks(tmp_path: Path) -> None:
    """Members' packets say nothing of what they hear, so they may stop at any time."""

    async def polite_listeners(guild: VoiceGuild, ada: Speaker) -> None:
        guild.call.somebody_talks = True
        await last_word(await ada.says(9, 0.4))
        await asyncio.sleep(2.0)
        answer = await ada.says(1, 6.0)
        await asyncio.sleep(0.5)
        guild.call.somebody_talks = False
        told, heard = await end_of(guild, answer, 1, 6.0)
        assert len(guild.call.sessions) == 1, "it reconnects"
        assert heard.repeated <= TORN_SECONDS, f"{heard.repeated:.2f} s are repeated"
        assert heard.missing <= LOST_SECONDS
        assert SPOKEN in told

    await in_modes(tmp_path, ["no udp", "reports", "pong"], polite_listeners)


async def test_pings_are_a_native_clients(tmp_path: Path) -> None:
    """At most one a second while it speaks, and about one in five seconds while it is quiet."""

    async def pings(guild: VoiceGuild, ada: Speaker) -> None:
        await last_word(await ada.says(1, 3.5))
        (session,) = guild.call.sessions
        spoken = len(session.pings)
        await asyncio.sleep(12.0)
        gaps = np.diff(session.pings)
        assert spoken >= 1, "it sends none while it speaks"
        assert gaps.min() > 0.9, f"two pings within {gaps.min():.1f} s"
        assert 2 <= len(session.pings) - spoken <= 4, "it sends too few or too many while quiet"
        assert session.strange_pings == 0

    await in_modes(tmp_path, ["no udp", "pong", "one in five"], pings)


async def test_a_lossy_line_is_no_fault(tmp_path: Path) -> None:
    async def lossy(guild: VoiceGuild, ada: Speaker) -> None:
        guild.call.faults.drop_share = 0.1
        await last_word(await ada.says(1, 3.0))
        heard = await guild.call.heard(seconds=0.2)
        assert len(guild.call.sessions) == 1, "it reconnects"
        assert heard.missing() > 0
        # Opus makes up something for what is lost, which may sound like what was.
        assert repeated_seconds(heard, 1) < 0.3

    await in_modes(tmp_path, ["no udp", "pong"], lossy)
