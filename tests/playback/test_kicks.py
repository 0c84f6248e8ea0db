"""A moderator disconnects the bot, or Discord does: it stays out, and every member is told."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest

from tests.support.interrupted_speech import all_is_well_again, says_and_is_interrupted
from tests.support.marked_speech import MAX_SECONDS
from tests.support.voice_guild import eventually, last_word
from tests.support.voice_modes import Case, in_modes, side_by_side
from tests.support.voice_server.faults import Faults
from tests.support.voice_server.modes import Mode

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.discord_server import Answer
    from tests.support.voice_guild import Speaker, VoiceGuild

pytestmark = [pytest.mark.realtime, pytest.mark.slow]

MODES = ["no udp", "pong", "talkers", "slow", "everything"]
FIGHTING_SECONDS = 3.0
"""If the bot comes back against a moderator's will, it does so within this time."""


async def stays_out(guild: VoiceGuild, connections: int) -> None:
    await asyncio.sleep(FIGHTING_SECONDS)
    assert guild.bot_is_in is None, "it came back"
    assert len(guild.call.sessions) == connections, "it connected again"


async def is_kicked(guild: VoiceGuild, ada: Speaker, *, code: int) -> None:
    grace = await guild.speaker("grace")
    answer = await says_and_is_interrupted(guild, ada, MAX_SECONDS)
    waiting = await grace.says(3, 1.0)
    await eventually(lambda: "in the queue" in waiting.told)
    connections = len(guild.call.sessions)
    await guild.kick_bot(code=code)
    for each in (answer, waiting):
        told = await last_word(each, within=20.0)
        assert "disconnected" in (told or ""), told
    await stays_out(guild, connections)
    await all_is_well_again(guild, ada)


@pytest.mark.lasts(20)
async def test_a_disconnected_bot_stays_out_and_every_member_is_told(tmp_path: Path) -> None:
    """With 4022 the whole call has ended. The news may come seconds after the close code."""
    cases = {mode: Case(mode, partial(is_kicked, code=4014)) for mode in MODES}
    cases |= {f"4022, {mode}": Case(mode, partial(is_kicked, code=4022)) for mode in MODES[::3]}
    await side_by_side(tmp_path, cases)


async def is_kicked_while_it_reconnects(guild: VoiceGuild, ada: Speaker) -> None:
    answer = await says_and_is_interrupted(guild, ada, MAX_SECONDS)
    guild.call.faults = Faults(loses_discovery=True)
    await guild.call.close(4006)
    await eventually(lambda: len(guild.call.sessions) > 1)
    guild.call.faults = Faults()
    connections = len(guild.call.sessions)
    await guild.kick_bot()
    told = await last_word(answer)
    assert "disconnected" in (told or ""), told
    await stays_out(guild, connections)
    await all_is_well_again(guild, ada)


async def is_kicked_late_in_a_handshake(guild: VoiceGuild, ada: Speaker) -> None:
    """discord.py asks to leave as soon as the handshake is closed, and the news comes later."""
    guild.call.faults = Faults(loses_session_description=True)
    answer = await ada.says(1, 1.0)
    await eventually(lambda: guild.call.sessions)
    await asyncio.sleep(0.3)
    guild.call.faults = Faults()
    await guild.kick_bot()
    told = await last_word(answer)
    assert "disconnected" in (told or ""), told
    await stays_out(guild, connections=1)
    await all_is_well_again(guild, ada)


async def is_kicked_while_others_wait(guild: VoiceGuild, ada: Speaker) -> None:
    """Who called the bot before waits until it has joined. It doesn't come back for them."""
    grace = await guild.speaker("grace")
    guild.call.faults = Faults(loses_session_description=True)
    answers = [await ada.says(1, 1.0)]
    await eventually(lambda: guild.call.sessions)
    answers += [await grace.says(3, 1.0), await ada.says(4, 1.0)]
    await asyncio.sleep(0.3)
    guild.call.faults = Faults()
    await guild.kick_bot()
    await ends_with_the_kick(guild, ada, answers, connections=1)


async def is_kicked_while_it_moves_and_others_wait(guild: VoiceGuild, ada: Speaker) -> None:
    grace = await guild.speaker("grace")
    answers = [await says_and_is_interrupted(guild, ada, MAX_SECONDS)]
    guild.call.mode = Mode(new_server_after=(4.0, 4.0))
    moving = asyncio.create_task(guild.change_region())
    await asyncio.sleep(1.0)
    answers += [await grace.says(3, 1.0)]
    await asyncio.sleep(1.0)
    await guild.kick_bot()
    guild.call.mode = Mode()
    await ends_with_the_kick(guild, ada, answers, connections=1)
    await moving


async def is_kicked_as_it_arrives(guild: VoiceGuild, ada: Speaker) -> None:
    """The main gateway's news that it is there, and that it isn't, come at once."""
    answer_request = guild.answer_voice_request

    def is_let_in_and_kicked(channel_id: int | None, **flags: bool) -> None:
        answer_request(channel_id, **flags)
        guild.call.admission = None
        backend = guild.server.env.backend
        backend.set_voice_state(guild.handle.id, guild.call.bot_id, None)

    with patch.object(guild, "answer_voice_request", is_let_in_and_kicked):
        answer = await ada.says(1, 1.0)
        assert "disconnected" in (await last_word(answer) or "")
    await ends_with_the_kick(guild, ada, [answer], connections=len(guild.call.sessions))


async def ends_with_the_kick(
    guild: VoiceGuild, ada: Speaker, answers: list[Answer], *, connections: int
) -> None:
    for answer in answers:
        told = await last_word(answer)
        assert "disconnected" in (told or ""), told
    await stays_out(guild, connections)
    await all_is_well_again(guild, ada)


async def is_kicked_before_the_handshake(guild: VoiceGuild, ada: Speaker, *, after: float) -> None:
    """The voice server no longer knows the session, and the news comes later."""
    answer = await ada.says(1, MAX_SECONDS)
    await eventually(lambda: guild.bot_is_in is not None)
    await asyncio.sleep(after)
    await guild.kick_bot()
    told = await last_word(answer)
    assert "disconnected" in (told or ""), told
    await stays_out(guild, len(guild.call.sessions))
    await all_is_well_again(guild, ada)


async def is_kicked_while_it_is_idle(guild: VoiceGuild, ada: Speaker) -> None:
    await last_word(await ada.says(1, 0.6))
    connections = len(guild.call.sessions)
    await guild.kick_bot()
    await stays_out(guild, connections)
    await all_is_well_again(guild, ada)


@pytest.mark.lasts(15)
async def test_a_bot_that_is_disconnected_while_it_does_not_speak_stays_out(
    tmp_path: Path,
) -> None:
    cases = {
        f"reconnects, {mode}": Case(mode, is_kicked_while_it_reconnects)
        for mode in ("no udp", "far")
    }
    for after in (0.0, 1.0, 2.2, 2.7, 2.9):
        check = partial(is_kicked_before_the_handshake, after=after)
        cases[f"before the handshake, {after:g} s"] = Case("everything", check)
    for mode in ("no udp", "slow"):
        cases[f"in a handshake, {mode}"] = Case(mode, is_kicked_late_in_a_handshake)
        cases[f"others wait, {mode}"] = Case(mode, is_kicked_while_others_wait)
        cases[f"idle, {mode}"] = Case(mode, is_kicked_while_it_is_idle)
    cases["moves, others wait"] = Case("no udp", is_kicked_while_it_moves_and_others_wait)
    cases["as it arrives"] = Case("no udp", is_kicked_as_it_arrives)
    await side_by_side(tmp_path, cases)


async def test_a_kick_that_is_told_twice_delays_nothing(tmp_path: Path) -> None:
    """discord.py keeps a state of the bot after the second time, in no channel."""

    async def check(guild: VoiceGuild, ada: Speaker) -> None:
        await last_word(await ada.says(1, 0.6))
        await guild.kick_bot()
        await eventually(lambda: guild.channel.guild.me.voice is None)
        guild.tell_that_bot_left()
        await asyncio.sleep(0.5)
        now = time.time()
        answer = await ada.says(2, 0.6)
        await guild.call.begins(within=4.0, since=now)
        await last_word(answer)

    await in_modes(tmp_path, ["no udp"], check)


async def test_a_rate_limited_bot_stays_away_and_says_so(tmp_path: Path) -> None:
    async def check(guild: VoiceGuild, ada: Speaker, *, at_once: bool) -> None:
        if at_once:
            guild.call.faults = Faults(closes_on_identify=4021)
            answer = await ada.says(1, 1.0)
        else:
            answer = await says_and_is_interrupted(guild, ada, MAX_SECONDS)
            await guild.call.close(4021)
        told = await last_word(answer)
        assert "stay out" in (told or ""), told
        await stays_out(guild, connections=1)
        guild.call.faults = Faults()
        await all_is_well_again(guild, ada)

    cases = {
        "at once": Case("no udp", partial(check, at_once=True)),
        "later": Case("no udp", partial(check, at_once=False)),
    }
    await side_by_side(tmp_path, cases)
