"""UDP falls silent without any event: what was played into the silence is repeated."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.support.interrupted_speech import (
    LOST_SECONDS,
    all_is_well_again,
    is_heard,
    says_and_is_interrupted,
)
from tests.support.marked_speech import unheard_seconds
from tests.support.voice_guild import SPOKEN, eventually, last_word
from tests.support.voice_server.faults import Faults

if TYPE_CHECKING:
    from tests.support.voice_guild import Speaker, VoiceGuild

pytestmark = pytest.mark.realtime

SLOW = pytest.mark.slow

GONE_BACK_SECONDS = 3.5
"""If a frame after the silence is heard before the bot rewinds, all that follows is a repeat."""


async def drops_and_recovers(guild: VoiceGuild) -> None:
    """The connection breaks while nothing is played, and the bot reconnects."""
    before = len(guild.call.sessions)
    await guild.call.close(4006)
    await eventually(lambda: len(guild.call.sessions) > before)
    await eventually(lambda: guild.server.bot.players.of(guild.handle.id).connection.is_well)


@SLOW
async def test_udp_silence_is_noticed(guild: VoiceGuild, ada: Speaker) -> None:
    answer = await says_and_is_interrupted(guild, ada, 9.0, after=4.0)
    guild.call.udp_dies()
    await is_heard(guild, answer, 9.0, repeated=2.0)
    await all_is_well_again(guild, ada)


@SLOW
@pytest.mark.parametrize("lost", [0.5, 2.5])
async def test_what_was_played_into_silence_is_repeated_after_a_drop(
    guild: VoiceGuild, ada: Speaker, lost: float
) -> None:
    """The link breaks before its silence has lasted long enough to count as a fault."""
    answer = await says_and_is_interrupted(guild, ada, 6.0, after=2.0)
    guild.call.udp_dies()
    await asyncio.sleep(lost)
    await guild.call.close(1006)
    await is_heard(guild, answer, 6.0)
    await all_is_well_again(guild, ada)


@SLOW
async def test_what_was_played_into_silence_is_repeated_after_a_move(
    guild: VoiceGuild, ada: Speaker
) -> None:
    """The new server echoes within milliseconds, as if nothing had been wrong."""
    answer = await says_and_is_interrupted(guild, ada, 6.0, after=2.0)
    guild.call.udp_dies()
    await asyncio.sleep(2.5)
    await guild.move_server()
    await is_heard(guild, answer, 6.0, repeated=GONE_BACK_SECONDS)
    await all_is_well_again(guild, ada)


@SLOW
async def test_what_was_played_into_silence_is_repeated_once_it_is_over(
    guild: VoiceGuild, ada: Speaker
) -> None:
    answer = await says_and_is_interrupted(guild, ada, 6.0, after=2.0)
    guild.call.udp_dies()
    await asyncio.sleep(2.5)
    guild.call.udp_revives()
    await is_heard(guild, answer, 6.0, repeated=GONE_BACK_SECONDS)
    assert len(guild.call.sessions) == 1, "there is no need to reconnect"
    await all_is_well_again(guild, ada)


@SLOW
@pytest.mark.parametrize("then", ["lasts", "the link breaks", "the call moves"])
async def test_a_silence_that_begins_just_before_the_end_is_noticed(
    guild: VoiceGuild, ada: Speaker, then: str
) -> None:
    """The call moves only after all was played, and the new server says nothing about that."""
    answer = await says_and_is_interrupted(guild, ada, 3.0, after=2.2)
    guild.call.udp_dies()
    if then == "the link breaks":
        await asyncio.sleep(0.7)
        await guild.call.close(1006)
    elif then == "the call moves":
        await asyncio.sleep(1.2)
        await guild.move_server()
    await is_heard(guild, answer, 3.0)
    await all_is_well_again(guild, ada)


@SLOW
async def test_a_silence_that_follows_another_is_noticed(guild: VoiceGuild, ada: Speaker) -> None:
    """The next two connections are silent from the start, so nothing is ever heard there."""
    answer = await says_and_is_interrupted(guild, ada, 5.0, after=2.0)
    guild.call.faults = Faults(deaf_from_the_start=True, mute_from_the_start=True)
    await guild.call.close(1006)
    await eventually(lambda: len(guild.call.sessions) > 3, within=20.0)
    guild.call.faults = Faults()
    await is_heard(guild, answer, 5.0)
    await all_is_well_again(guild, ada)


@SLOW
async def test_a_server_that_stays_silent_is_given_up(guild: VoiceGuild, ada: Speaker) -> None:
    answer = await says_and_is_interrupted(guild, ada, 3.0)
    guild.call.faults = Faults(deaf_from_the_start=True, mute_from_the_start=True)
    await guild.call.close(1006)
    assert "lost the connection" in (await last_word(answer) or "")
    assert guild.bot_is_in is None
    guild.call.faults = Faults()
    await all_is_well_again(guild, ada)


@SLOW
async def test_udp_silence_is_noticed_after_links_that_played_nothing(
    guild: VoiceGuild, ada: Speaker
) -> None:
    """Such links show nothing, so what the link before them has shown still counts."""
    assert SPOKEN in (await last_word(await ada.says(2, 1.0)) or "")
    await drops_and_recovers(guild)
    await drops_and_recovers(guild)
    guild.call.udp_dies()
    await is_heard(guild, await ada.says(1, 2.0), 2.0)


@SLOW
async def test_a_bot_that_was_dropped_without_an_event_reconnects(
    guild: VoiceGuild, ada: Speaker
) -> None:
    """Discord drops the bot while it speaks, and sends no event."""
    answer = await says_and_is_interrupted(guild, ada, 9.0, after=4.0)
    guild.forget_bot()
    await is_heard(guild, answer, 9.0, repeated=2.0)
    assert guild.bot_is_in == guild.lounge.id
    await all_is_well_again(guild, ada)


@SLOW
async def test_an_idle_bot_that_was_dropped_without_an_event_udp_revives(
    guild: VoiceGuild, ada: Speaker
) -> None:
    assert SPOKEN in (await last_word(await ada.says(2, 4.0)) or "")
    guild.forget_bot()
    told = await last_word(await ada.says(1, 2.0))
    heard = await guild.call.heard(seconds=0.2)
    assert told is not None
    assert unheard_seconds(heard, 1, 2.0) <= LOST_SECONDS or SPOKEN not in told
    await all_is_well_again(guild, ada)
