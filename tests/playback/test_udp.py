"""UDP dies while the websocket stands: only unanswered pings can show that."""

from __future__ import annotations

import asyncio
import dataclasses
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.support.interrupted_speech import (
    LOST_SECONDS,
    UDP_REPEATED_SECONDS,
    all_is_well_again,
    end_of,
    is_heard_or_explained,
    says_and_is_interrupted,
)
from tests.support.voice_guild import SPOKEN
from tests.support.voice_modes import Case, in_modes, side_by_side
from tests.support.voice_server.modes import Mode, Pings

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.voice_guild import Speaker, VoiceGuild

pytestmark = [pytest.mark.realtime, pytest.mark.slow]

ANSWERED = ["pong", "echo"]
UNANSWERED = ["no udp", "reports", "talkers"]
NOTICED_SECONDS = 10.0
"""Where pings are answered, dead UDP has to be noticed within this time."""

ITEM_SECONDS = 9.0

PARTLY_UNHEARD = (
    "Discord's voice server didn't answer for a while as I spoke, so part of it may not have been "
    "heard. If something was missed, please use `/say` again."
)

SILENT_SECONDS = 4.0
"""Within this time, at least three pings of a bot that speaks go without an answer."""

UNACKNOWLEDGED_SECONDS = 14.0
"""By then three heartbeats have gone without an answer, one each five seconds."""


@pytest.mark.lasts(25)
async def test_dead_udp_is_noticed_where_pings_are_answered(tmp_path: Path) -> None:
    """The item itself may end before; so another one waits."""

    async def check(guild: VoiceGuild, ada: Speaker) -> None:
        answer = await says_and_is_interrupted(guild, ada, ITEM_SECONDS, after=2.5)
        waiting = await ada.says(2, 3.0)
        guild.call.udp_dies()
        await asyncio.sleep(NOTICED_SECONDS + 0.5)
        reconnections = len(guild.call.sessions) - 1
        assert reconnections == 1, f"{reconnections} reconnections"
        await is_heard_or_explained(guild, answer, ITEM_SECONDS, repeated=UDP_REPEATED_SECONDS)
        await is_heard_or_explained(guild, waiting, 3.0, item=2, repeated=UDP_REPEATED_SECONDS)
        assert len(guild.call.sessions) == 2

    await in_modes(tmp_path, ["pong", "everything"], check)


async def answers_no_longer(guild: VoiceGuild, ada: Speaker) -> None:
    """Everything arrives, and the server only stopped answering: nobody can tell from here."""
    answer = await says_and_is_interrupted(guild, ada, ITEM_SECONDS, after=2.5)
    guild.call.udp_dies(to_server=False)
    _, heard = await end_of(guild, answer, 1, ITEM_SECONDS)
    assert heard.missing <= LOST_SECONDS, f"{heard.missing:.2f} s are missing"
    assert heard.repeated <= UDP_REPEATED_SECONDS, f"{heard.repeated:.2f} s are heard twice"
    assert len(guild.call.sessions) <= 2, "it reconnects more than once"


async def goes_on_after_doubts(guild: VoiceGuild, ada: Speaker) -> None:
    """All is heard of each item. Of the long one the bot can't know it; of short ones it can."""
    answer = await ada.says(1, ITEM_SECONDS)
    following = [await ada.says(item, 1.0) for item in (2, 3)]
    told, heard = await end_of(guild, answer, 1, ITEM_SECONDS)
    assert told == PARTLY_UNHEARD
    assert heard.missing <= LOST_SECONDS, f"{heard.missing:.2f} s are missing"
    for item, short in enumerate(following, start=2):
        told, heard = await end_of(guild, short, item, 1.0)
        assert SPOKEN in told, told
        assert heard.missing <= LOST_SECONDS, f"{heard.missing:.2f} s of {item} are missing"
    assert len(guild.call.sessions) == 2, "one reconnection for the long one"


async def is_silent_for_a_while(guild: VoiceGuild, ada: Speaker, *, rest: float) -> None:
    """For some seconds nothing gets through; then it does again.

    Where pings are answered, that is noticed, also if the speech ends meanwhile.

    Args:
        guild: The guild.
        ada: Who is heard.
        rest: How much of the speech is left when the silence begins, in seconds.
    """
    answer = await says_and_is_interrupted(guild, ada, 3.0 + rest, after=3.0)
    guild.call.udp_dies()
    await asyncio.sleep(SILENT_SECONDS)
    guild.call.udp_revives()
    told, heard = await end_of(guild, answer, 1, 3.0 + rest)
    assert heard.missing > 1.0, "the silence was heard"
    assert heard.repeated <= LOST_SECONDS, f"{heard.repeated:.2f} s are heard twice"
    assert len(guild.call.sessions) == 1, "it reconnects"
    if guild.call.mode.answers_regularly:
        assert told == PARTLY_UNHEARD, told
    else:
        assert SPOKEN in told, told
    await all_is_well_again(guild, ada)


async def is_silent_while_reports_come(guild: VoiceGuild, ada: Speaker) -> None:
    """Only the way to the server dies, 3 s before the end; a last report comes after that."""
    guild.call.mode = dataclasses.replace(guild.call.mode, reports=(1.2, 1.2))
    answer = await says_and_is_interrupted(guild, ada, 7.0, after=4.0)
    guild.call.udp_dies(to_bot=False)
    await is_heard_or_explained(guild, answer, 7.0, repeated=UDP_REPEATED_SECONDS)


async def is_silent(guild: VoiceGuild, ada: Speaker) -> None:
    """A server that answers nothing anyway: suspicion would repeat healthy speech."""
    answer = await says_and_is_interrupted(guild, ada, 7.0)
    guild.call.udp_dies()
    _, heard = await end_of(guild, answer, 1, 7.0)
    assert heard.repeated <= LOST_SECONDS, f"{heard.repeated:.2f} s are heard twice"
    assert len(guild.call.sessions) == 1, "it reconnects"


@pytest.mark.lasts(30)
async def test_who_is_heard_by_a_server_that_answers_no_longer_is_told_of_doubts_once(
    tmp_path: Path,
) -> None:
    await in_modes(tmp_path, ["no longer"], goes_on_after_doubts)


@pytest.mark.lasts(15)
async def test_silence_that_may_mean_nothing_costs_two_seconds_at_most(tmp_path: Path) -> None:
    cases = {f"answers no longer, {mode}": Case(mode, answers_no_longer) for mode in ANSWERED}
    cases |= {
        f"for a while, {rest:g} s before the end, {mode}": Case(
            mode, partial(is_silent_for_a_while, rest=rest)
        )
        for mode in ("no udp", "pong", "far and pong")
        for rest in (5.0, 2.4)
    }
    cases |= {f"for good, {mode}": Case(mode, is_silent) for mode in UNANSWERED}
    cases["to the server, everything"] = Case("everything", is_silent_while_reports_come)
    await side_by_side(tmp_path, cases)


@pytest.mark.lasts(30)
async def test_answers_that_take_long_keep_nobody_waiting_for_ever(tmp_path: Path) -> None:
    """Each ping is answered, but later than the next one is sent."""

    async def check(guild: VoiceGuild, ada: Speaker) -> None:
        guild.call.mode = Mode(pings=Pings.PONG, answers_after=(2.6, 3.4))
        answers = [await ada.says(item, 4.0) for item in (1, 2)]
        for item, answer in enumerate(answers, start=1):
            told, heard = await end_of(guild, answer, item, 4.0)
            assert heard.missing <= LOST_SECONDS, f"{heard.missing:.2f} s are missing; {told}"
            assert heard.repeated <= LOST_SECONDS, f"{heard.repeated:.2f} s are heard twice"
        assert len(guild.call.sessions) == 1, "it reconnects"

    await in_modes(tmp_path, ["pong"], check)


@pytest.mark.lasts(35)
async def test_a_bot_that_discord_forgot_notices(tmp_path: Path) -> None:
    """Discord drops the bot and sends no event; heartbeats are no longer acknowledged."""

    async def check(guild: VoiceGuild, ada: Speaker) -> None:
        answer = await says_and_is_interrupted(guild, ada, 6.0, after=2.5)
        guild.forget_bot()
        _, heard = await end_of(guild, answer, 1, 6.0)
        assert heard.repeated <= UDP_REPEATED_SECONDS, f"{heard.repeated:.2f} s are heard twice"
        await asyncio.sleep(UNACKNOWLEDGED_SECONDS)
        await is_heard_or_explained(guild, await ada.says(3, 2.0), 2.0, item=3, repeated=0.1)
        await all_is_well_again(guild, ada)
        assert guild.bot_is_in == guild.lounge.id

    await in_modes(tmp_path, ["no udp", "pong"], check)
