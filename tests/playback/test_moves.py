"""The call moves to another server, or a moderator drags the bot into another channel."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.support.interrupted_speech import (
    all_is_well_again,
    end_of,
    is_heard,
    says_and_is_interrupted,
)
from tests.support.marked_speech import MAX_SECONDS, passages
from tests.support.voice_guild import SPOKEN, eventually, last_word
from tests.support.voice_modes import Case, in_modes, side_by_side
from tests.support.voice_server.faults import Faults
from tests.support.voice_server.modes import Mode

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.discord_server import Answer
    from tests.support.voice_guild import Speaker, VoiceGuild

pytestmark = [pytest.mark.realtime, pytest.mark.slow]

MODES = ["no udp", "pong", "talkers", "slow", "everything"]


@pytest.mark.lasts(20)
async def test_speech_resumes_when_the_call_moves(tmp_path: Path) -> None:
    async def check(guild: VoiceGuild, ada: Speaker, *, region: bool) -> None:
        answer = await says_and_is_interrupted(guild, ada, 3.0)
        await (guild.change_region() if region else guild.move_server())
        await is_heard(guild, answer, 3.0)
        await all_is_well_again(guild, ada)
        assert len(guild.call.sessions) == 2, "it left, or connected more often than it had to"

    cases = {mode: Case(mode, partial(check, region=True)) for mode in MODES}
    cases |= {f"server, {mode}": Case(mode, partial(check, region=False)) for mode in MODES[:2]}
    await side_by_side(tmp_path, cases)


STEPS = {
    "nothing for 5 s": Mode(new_server_after=(5.0, 5.0)),
    "news after 4 s, and again": Mode(new_server_after=(8.0, 8.0), null_endpoint_first=True),
}
"""Moves that take long. discord.py gets on all the same, so the bot waits."""


@pytest.mark.lasts(30)
async def test_a_move_may_take_its_time(tmp_path: Path) -> None:
    async def check(guild: VoiceGuild, ada: Speaker, *, mode: Mode, dragged: bool) -> None:
        guild.call.mode = Mode()
        answer = await says_and_is_interrupted(guild, ada, 3.0)
        guild.call.mode = mode
        if dragged:
            await guild.move_bot(guild.studio)
            await nothing_is_heard_elsewhere(guild, answer)
            guild.call.mode = Mode()
            await speaks_in_the_studio(guild, ada)
        else:
            await guild.change_region()
            guild.call.mode = Mode()
            await is_heard(guild, answer, 3.0)
            await all_is_well_again(guild, ada)
        assert len(guild.call.sessions) == 2, "it left, or connected more often than it had to"

    cases = {
        f"{'dragged' if dragged else 'region'}, {name}": Case(
            "no udp", partial(check, mode=mode, dragged=dragged)
        )
        for name, mode in STEPS.items()
        for dragged in (False, True)
    }
    await side_by_side(tmp_path, cases)


async def test_a_server_that_answers_nothing_follows_one_that_answers_pings(
    tmp_path: Path,
) -> None:
    """What one server answers says nothing of the next."""

    async def check(guild: VoiceGuild, ada: Speaker) -> None:
        await last_word(await ada.says(1, 2.5))
        await guild.move_server()
        for item, seconds in ((2, 1.0), (3, 6.5), (4, 0.6)):
            await is_heard(guild, await ada.says(item, seconds), seconds, item=item, repeated=0.1)
        assert len(guild.call.sessions) == 2, "it reconnects"

    await in_modes(tmp_path, ["not by the next"], check)


async def nothing_is_heard_elsewhere(guild: VoiceGuild, *answers: Answer) -> None:
    """Speech for the lounge ends, with a sentence, and is not heard in the studio."""
    for answer in answers:
        told = await last_word(answer, within=30.0)
        assert told is not None, "nobody is told"
        assert SPOKEN not in told, told
        assert "disconnected" not in told, told
    heard = await guild.call.heard(seconds=0.5)
    items = {row.item for row in passages(heard.within(guild.studio.id))}
    assert not items, f"speech for the lounge is heard in the studio: {items}"


async def speaks_in_the_studio(guild: VoiceGuild, ada: Speaker) -> None:
    # discord.py may have left while it gave up a handshake: then the bot comes back by itself.
    await eventually(lambda: guild.bot_is_in == guild.studio.id)
    await ada.goes_to(guild.studio)
    await all_is_well_again(guild, ada)


async def is_dragged(guild: VoiceGuild, ada: Speaker) -> None:
    grace = await guild.speaker("grace")
    answer = await says_and_is_interrupted(guild, ada, MAX_SECONDS)
    waiting = await grace.says(3, 1.0)
    await eventually(lambda: "in the queue" in waiting.told)
    await guild.move_bot(guild.studio)
    await nothing_is_heard_elsewhere(guild, answer, waiting)
    await speaks_in_the_studio(guild, ada)


async def is_dragged_while_it_is_idle(guild: VoiceGuild, ada: Speaker) -> None:
    await last_word(await ada.says(1, 0.6))
    await guild.move_bot(guild.studio)
    await speaks_in_the_studio(guild, ada)


@pytest.mark.lasts(20)
async def test_a_dragged_bot_takes_no_speech_along_and_speaks_where_it_is(tmp_path: Path) -> None:
    cases = {mode: Case(mode, is_dragged) for mode in MODES}
    cases |= {f"idle, {mode}": Case(mode, is_dragged_while_it_is_idle) for mode in MODES[::3]}
    await side_by_side(tmp_path, cases)


async def moves_during_a_handshake(guild: VoiceGuild, ada: Speaker, *, dragged: bool) -> None:
    """discord.py starts another handshake then, and cancels the one that is awaited."""
    answer = await says_and_is_interrupted(guild, ada, 3.0)
    guild.call.faults = Faults(loses_discovery=True)
    await guild.call.close(1006)
    await eventually(lambda: len(guild.call.sessions) > 1)
    await asyncio.sleep(0.2)
    guild.call.faults = Faults()
    await moves(guild, ada, answer, 3.0, dragged=dragged)


async def moves_while_it_joins(guild: VoiceGuild, ada: Speaker, *, dragged: bool) -> None:
    """discord.py cancels the handshake that is awaited, and starts another in a task of its own."""
    guild.call.faults = Faults(loses_discovery=True)
    answer = await ada.says(1, 1.0)
    await eventually(lambda: guild.call.sessions)
    await asyncio.sleep(0.1)
    guild.call.faults = Faults()
    await moves(guild, ada, answer, 1.0, dragged=dragged)


async def moves(
    guild: VoiceGuild, ada: Speaker, answer: Answer, seconds: float, *, dragged: bool
) -> None:
    """A moderator drags the bot, or the call moves to another server."""
    if dragged:
        await guild.move_bot(guild.studio)
        await nothing_is_heard_elsewhere(guild, answer)
        await speaks_in_the_studio(guild, ada)
    else:
        await guild.move_server()
        await is_heard(guild, answer, seconds)
        await all_is_well_again(guild, ada)


async def moves_again_before_it_was_reached(guild: VoiceGuild, ada: Speaker) -> None:
    """discord.py's abandoned handshakes must not end the connection that is made meanwhile."""
    answer = await says_and_is_interrupted(guild, ada, 4.0)
    guild.call.faults = Faults(loses_discovery=True)
    for _ in range(2):
        await guild.move_server()
        await asyncio.sleep(0.2)
    guild.call.faults = Faults()
    told, heard = await end_of(guild, answer, 1, 4.0)
    assert SPOKEN in told, told
    assert heard.missing <= 0.3, f"{heard.missing:.2f} s are missing"


@pytest.mark.lasts(25)
async def test_a_move_during_a_handshake_is_followed(tmp_path: Path) -> None:
    cases = {"again before it was reached": Case("no udp", moves_again_before_it_was_reached)}
    for dragged in (False, True):
        how = "dragged" if dragged else "moved"
        for mode in ("no udp", "far"):
            check = partial(moves_during_a_handshake, dragged=dragged)
            cases[f"{how} during a handshake, {mode}"] = Case(mode, check)
        for mode in ("no udp", "everything"):
            check = partial(moves_while_it_joins, dragged=dragged)
            cases[f"{how} while it joins, {mode}"] = Case(mode, check)
    await side_by_side(tmp_path, cases)
