"""Faults of voice connections: each `/say` is heard or explained, and the next one works."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.support.interrupted_speech import (
    all_is_well_again,
    is_heard,
    says_and_is_interrupted,
)
from tests.support.marked_speech import passages, repeated_seconds
from tests.support.voice_guild import eventually, last_word
from tests.support.voice_server.faults import Faults

if TYPE_CHECKING:
    from tests.support.voice_guild import Speaker, VoiceGuild

pytestmark = pytest.mark.realtime

SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "code", [4006, *(pytest.param(code, marks=SLOW) for code in (1006, 4009, 4014, 4015, 4022))]
)
async def test_speech_resumes_after_a_dropped_connection(
    guild: VoiceGuild, ada: Speaker, code: int
) -> None:
    """Discord still shows the bot in the channel, so nobody disconnected it."""
    answer = await says_and_is_interrupted(guild, ada, 2.5)
    await guild.call.close(code)
    await is_heard(guild, answer, 2.5)
    await all_is_well_again(guild, ada)


@SLOW
async def test_a_rate_limited_bot_stays_away_and_says_so(guild: VoiceGuild, ada: Speaker) -> None:
    answer = await says_and_is_interrupted(guild, ada, 2.5)
    await guild.call.close(4021)
    assert "stay out" in (await last_word(answer) or "")
    assert guild.bot_is_in is None
    assert len(guild.call.sessions) == 1
    await all_is_well_again(guild, ada)


@SLOW
async def test_a_call_that_ended_is_left_and_the_member_is_told(
    guild: VoiceGuild, ada: Speaker
) -> None:
    """Close code 4022, and an event that shows the bot in no channel."""
    answer = await says_and_is_interrupted(guild, ada, 2.5)
    await guild.kick_bot(code=4022)
    assert "disconnected" in (await last_word(answer) or "")
    await all_is_well_again(guild, ada)


async def test_a_disconnected_bot_stays_out_and_every_member_is_told(
    guild: VoiceGuild, ada: Speaker
) -> None:
    grace = await guild.speaker("grace")
    answer = await says_and_is_interrupted(guild, ada, 4.0)
    waiting = await grace.says(3, 1.0)
    await eventually(lambda: "in the queue" in waiting.told)
    await guild.kick_bot()
    assert "disconnected" in (await last_word(answer) or "")
    assert "disconnected" in (await last_word(waiting) or "")
    assert guild.bot_is_in is None
    await all_is_well_again(guild, ada)


async def test_speech_resumes_when_the_server_changes(guild: VoiceGuild, ada: Speaker) -> None:
    answer = await says_and_is_interrupted(guild, ada, 2.5)
    await guild.move_server()
    await is_heard(guild, answer, 2.5)
    await all_is_well_again(guild, ada)


@SLOW
async def test_speech_resumes_in_the_channel_that_the_bot_is_moved_to(
    guild: VoiceGuild, ada: Speaker
) -> None:
    answer = await says_and_is_interrupted(guild, ada, 2.5)
    await guild.move_bot(guild.studio)
    await is_heard(guild, answer, 2.5)
    assert guild.bot_is_in == guild.studio.id
    await ada.goes_to(guild.studio)
    await all_is_well_again(guild, ada)


@SLOW
@pytest.mark.parametrize("dragged", [False, True], ids=["moved", "dragged"])
async def test_a_call_that_moves_during_a_handshake_is_followed(
    guild: VoiceGuild, ada: Speaker, *, dragged: bool
) -> None:
    """discord.py starts another handshake then, and cancels the one that is awaited."""
    answer = await says_and_is_interrupted(guild, ada, 3.0)
    guild.call.faults = Faults(loses_discovery=True)
    await guild.call.close(1006)
    await eventually(lambda: len(guild.call.sessions) > 1)
    await asyncio.sleep(0.2)
    guild.call.faults = Faults()
    await (guild.move_bot(guild.studio) if dragged else guild.move_server())
    await is_heard(guild, answer, 3.0)
    if dragged:
        await ada.goes_to(guild.studio)
    await all_is_well_again(guild, ada)


@SLOW
async def test_a_server_that_refuses_for_a_while_is_tried_again(
    guild: VoiceGuild, ada: Speaker
) -> None:
    answer = await says_and_is_interrupted(guild, ada, 2.5)
    guild.call.faults = Faults(refuses_connections=True)
    await guild.call.close(1006)
    await asyncio.sleep(2.0)
    guild.call.faults = Faults()
    await is_heard(guild, answer, 2.5)
    await all_is_well_again(guild, ada)


@SLOW
@pytest.mark.parametrize(
    "fault",
    [
        Faults(closes_on_identify=4006),
        Faults(loses_discovery=True),
        Faults(loses_session_description=True),
    ],
    ids=["closes on identify", "loses discovery", "loses the session description"],
)
async def test_a_handshake_that_fails_is_tried_again(
    guild: VoiceGuild, ada: Speaker, fault: Faults
) -> None:
    answer = await says_and_is_interrupted(guild, ada, 2.5)
    guild.call.faults = fault
    await guild.call.close(4006)
    await eventually(lambda: len(guild.call.sessions) > 1)
    await asyncio.sleep(0.2)
    guild.call.faults = Faults()
    await is_heard(guild, answer, 2.5)
    await all_is_well_again(guild, ada)


async def test_the_first_connection_is_tried_again_too(guild: VoiceGuild, ada: Speaker) -> None:
    guild.call.faults = Faults(closes_on_identify=4006)
    answer = await ada.says(1, 1.0)
    await eventually(lambda: guild.call.sessions)
    await asyncio.sleep(0.2)
    guild.call.faults = Faults()
    await is_heard(guild, answer, 1.0)


@SLOW
async def test_a_first_connection_that_never_succeeds_is_given_up(
    guild: VoiceGuild, ada: Speaker
) -> None:
    guild.call.faults = Faults(refuses_connections=True)
    assert "couldn't connect" in (await last_word(await ada.says(1, 1.0)) or "")
    assert guild.bot_is_in is None
    guild.call.faults = Faults()
    await all_is_well_again(guild, ada)


async def test_a_bot_that_is_rate_limited_at_once_does_not_try_again(
    guild: VoiceGuild, ada: Speaker
) -> None:
    guild.call.faults = Faults(closes_on_identify=4021)
    assert "stay out" in (await last_word(await ada.says(1, 1.0)) or "")
    assert len(guild.call.sessions) == 1


@pytest.mark.parametrize("moves", ["to another server", "to another channel"])
async def test_a_bot_that_is_moved_while_it_connects_tries_again(
    guild: VoiceGuild, ada: Speaker, moves: str
) -> None:
    """discord.py cancels the handshake that is awaited, and starts another in a task of its own."""
    guild.call.faults = Faults(loses_discovery=True)
    answer = await ada.says(1, 1.0)
    await eventually(lambda: guild.call.sessions)
    await asyncio.sleep(0.1)
    guild.call.faults = Faults()
    if moves == "to another server":
        await guild.move_server()
        channel = guild.lounge
    else:
        await guild.move_bot(guild.studio)
        channel = guild.studio
    await is_heard(guild, answer, 1.0)
    assert guild.bot_is_in == channel.id


@SLOW
async def test_a_server_that_changes_again_before_it_was_reached(
    guild: VoiceGuild, ada: Speaker
) -> None:
    """discord.py's abandoned handshakes must not end the connection that is made meanwhile."""
    answer = await says_and_is_interrupted(guild, ada, 9.0)
    guild.call.faults = Faults(loses_discovery=True)
    for _ in range(2):
        await guild.move_server()
        await asyncio.sleep(0.2)
    guild.call.faults = Faults()
    await is_heard(guild, answer, 9.0)


@SLOW
async def test_a_bot_that_is_disconnected_while_it_reconnects_stays_out(
    guild: VoiceGuild, ada: Speaker
) -> None:
    answer = await says_and_is_interrupted(guild, ada, 2.5)
    guild.call.faults = Faults(loses_discovery=True)
    await guild.call.close(4006)
    await eventually(lambda: len(guild.call.sessions) > 1)
    guild.call.faults = Faults()
    await guild.kick_bot()
    assert "disconnected" in (await last_word(answer) or "")
    assert guild.bot_is_in is None
    await all_is_well_again(guild, ada)


@SLOW
async def test_a_server_that_never_comes_back_is_given_up(guild: VoiceGuild, ada: Speaker) -> None:
    answer = await says_and_is_interrupted(guild, ada, 2.5)
    guild.call.faults = Faults(refuses_connections=True)
    await guild.call.close(1006)
    assert "lost the connection" in (await last_word(answer) or "")
    assert guild.bot_is_in is None
    guild.call.faults = Faults()
    await all_is_well_again(guild, ada)


@SLOW
async def test_the_end_of_speech_is_not_lost_silently(guild: VoiceGuild, ada: Speaker) -> None:
    """The link breaks just before the end, where lost speech looks like speech that was heard."""
    answer = await says_and_is_interrupted(guild, ada, 2.0, after=1.5)
    await guild.call.close(1006)
    await is_heard(guild, answer, 2.0)


@SLOW
async def test_a_few_lost_packets_do_not_cause_a_reconnect(guild: VoiceGuild, ada: Speaker) -> None:
    guild.call.faults = Faults(drop_share=0.1)
    await ada.says(1, 3.0)
    heard = await guild.call.heard_until_quiet()
    assert len(guild.call.sessions) == 1
    assert heard.missing() > 0
    assert [row.item for row in passages(heard)] == [1]
    assert repeated_seconds(heard, 1) < 0.3, "except for what Opus makes up to conceal the loss"
