"""Listeners join and leave while the bot speaks: each time, the keys change (DAVE epochs)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.support.marked_speech import passages, repeated_seconds, silence_within, unheard_seconds
from tests.support.voice_guild import SPOKEN, last_word

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
