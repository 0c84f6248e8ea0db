"""Listeners join and leave while the bot speaks: each time, the keys change (DAVE epochs)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.support.marked_speech import passages, repeated_seconds, silence_within, unheard_seconds
from tests.support.voice_guild import SPOKEN, eventually, last_word
from tests.support.voice_server.modes import Mode

if TYPE_CHECKING:
    from tests.support.voice_guild import VoiceGuild

pytestmark = pytest.mark.realtime

TORN_SECONDS = 0.1
"""Packets under way may be encrypted with the old keys, and Opus needs a moment after a loss."""


async def test_everybody_hears_everything_while_listeners_join_and_leave(guild: VoiceGuild) -> None:
    call = guild.call
    ada = await guild.speaker("ada")
    answer = await ada.says(1, 4.0)
    await call.begins()
    for change in (
        call.listener_joins,
        call.listener_joins,
        call.listener_leaves,
        call.listener_joins,
        call.listener_leaves,
        call.listener_leaves,
    ):
        await asyncio.sleep(0.5)
        await change()
    assert SPOKEN in (await last_word(answer) or "")
    heard = await call.heard(seconds=0.2)
    (passage,) = passages(heard)
    assert unheard_seconds(heard, 1, 4.0) <= TORN_SECONDS
    assert repeated_seconds(heard, 1) <= TORN_SECONDS
    assert silence_within(heard, passage) <= TORN_SECONDS
    assert len(call.sessions) == 1, "the bot did not reconnect"
    assert {frame.is_encrypted for frame in heard.audible().frames} == {True}


async def test_three_listeners_all_hear_it(guild: VoiceGuild) -> None:
    guild.call.listeners = 3
    ada = await guild.speaker("ada")
    assert SPOKEN in (await last_word(await ada.says(1, 1.0)) or "")
    heard = await guild.call.heard(seconds=0.2)
    assert len(guild.call.packets[-1].listeners) == 3
    assert unheard_seconds(heard, 1, 1.0) <= TORN_SECONDS


@pytest.mark.slow
@pytest.mark.lasts(15)
async def test_nothing_is_sent_in_plain_to_who_finds_the_bot_alone(guild: VoiceGuild) -> None:
    """A bot that is alone has no key. Somebody comes, and their key takes its time."""
    call = guild.call
    call.listeners, call.mode = 0, Mode(welcome_after=0.5)
    ada, grace = [await guild.speaker(name) for name in ("ada", "grace")]
    grace.leaves_voice()
    answer = await ada.says(1, 5.0)
    await eventually(lambda: guild.bot_is_in)
    ada.leaves_voice()
    await call.begins(within=15.0)
    for pause in (0.5, 0.53, 0.56):  # the bot looks ten times a second on its own
        await asyncio.sleep(pause)
        await grace.goes_to(guild.lounge)
        await call.listener_joins()
        await asyncio.sleep(0.6)
        await call.listener_leaves()
        grace.leaves_voice()
    assert SPOKEN in (await last_word(answer) or "")
    heard = await call.heard(seconds=0.2)
    assert {frame.is_encrypted for frame in heard.audible().frames} == {True, False}
    assert call.unintelligible <= 1, "a packet may be under way when somebody comes"
    assert unheard_seconds(heard, 1, 5.0) <= TORN_SECONDS
    assert len(call.sessions) == 1, "the bot did not reconnect"


async def test_after_a_drop_speech_resumes_for_everybody(guild: VoiceGuild) -> None:
    guild.call.listeners = 3
    ada = await guild.speaker("ada")
    answer = await ada.says(1, 3.0)
    await guild.call.begins()
    await asyncio.sleep(0.5)
    await guild.call.close(4006)
    await asyncio.sleep(0.2)
    await guild.call.listener_leaves()
    assert SPOKEN in (await last_word(answer) or "")
    assert unheard_seconds(await guild.call.heard(seconds=0.2), 1, 3.0) <= 0.15
