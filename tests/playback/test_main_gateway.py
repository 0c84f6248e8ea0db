"""The main gateway's session is lost: guilds are stubs for a while, and voice has ended."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.support.interrupted_speech import all_is_well_again, is_heard, says_and_is_interrupted
from tests.support.voice_guild import eventually, last_word
from tests.support.voice_modes import Case, in_modes, side_by_side
from tests.support.voice_words import told as told_at_once

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.voice_guild import Speaker, VoiceGuild

pytestmark = [pytest.mark.realtime, pytest.mark.slow]

COMMANDS = ("say", "join", "queue", "leave", "skip", "stop")

MODES = ["no udp", "pong", "slow"]


@pytest.mark.lasts(20)
async def test_speech_goes_on_after_the_bot_has_identified_anew(tmp_path: Path) -> None:
    """The bot rejoins once the guild is there again, and keeps the queue."""

    async def check(
        guild: VoiceGuild, ada: Speaker, *, stub_seconds: float, closes_after: float = 0.0
    ) -> None:
        grace = await guild.speaker("grace")
        answer = await says_and_is_interrupted(guild, ada, 3.0)
        waiting = await grace.says(3, 1.0)
        await eventually(lambda: "in the queue" in waiting.told)
        await guild.reidentifies(stub_seconds=stub_seconds, closes_after=closes_after)
        await is_heard(guild, answer, 3.0)
        await is_heard(guild, waiting, 1.0, item=3)
        await all_is_well_again(guild, ada)

    cases = {mode: Case(mode, partial(check, stub_seconds=0.2)) for mode in MODES[:1]}
    cases |= {f"stub, {mode}": Case(mode, partial(check, stub_seconds=5.0)) for mode in MODES}
    cases |= {
        f"voice ends later, {mode}": Case(mode, partial(check, stub_seconds=4.0, closes_after=3.0))
        for mode in MODES
    }
    await side_by_side(tmp_path, cases)


@pytest.mark.lasts(50)
async def test_a_guild_that_discord_does_not_send_again_is_given_up(tmp_path: Path) -> None:
    """Whoever waits is told after half a minute; once the guild is there, the bot comes back."""

    async def check(guild: VoiceGuild, ada: Speaker) -> None:
        grace = await guild.speaker("grace")
        answer = await says_and_is_interrupted(guild, ada, 5.0)
        waiting = await grace.says(3, 1.0)
        await eventually(lambda: "in the queue" in waiting.told)
        reidentifies = asyncio.create_task(guild.reidentifies(stub_seconds=34.0))
        for each in (answer, waiting):
            told = await last_word(each, within=33.0)
            assert (told or "").startswith("I lost the connection to the voice channel"), told
        await reidentifies
        await all_is_well_again(guild, ada)

    await in_modes(tmp_path, MODES[:1], check)


@pytest.mark.lasts(50)
async def test_a_guild_may_take_its_time_after_the_main_gateway_was_away(tmp_path: Path) -> None:
    """Both together take longer than the bot waits for a guild."""

    async def check(guild: VoiceGuild, ada: Speaker) -> None:
        answer = await says_and_is_interrupted(guild, ada, 3.0)
        await guild.reidentifies(gap=10.0, is_gap_seen=True, stub_seconds=24.0)
        await is_heard(guild, answer, 3.0)
        await all_is_well_again(guild, ada)

    await in_modes(tmp_path, MODES[:1], check)


async def test_members_are_told_that_the_bot_reconnects(tmp_path: Path) -> None:
    """While the guild is a stub, the bot knows nobody in voice: that is not the members' fault."""

    async def check(guild: VoiceGuild, ada: Speaker, *, is_idle: bool) -> None:
        grace = await guild.speaker("grace")
        if is_idle:
            await last_word(await ada.says(1, 0.6))
        else:
            answer = await says_and_is_interrupted(guild, ada, 3.0)
        reidentifies = asyncio.create_task(guild.reidentifies(stub_seconds=5.0))
        await eventually(lambda: guild.server.bot.get_channel(guild.lounge.id) is None)
        for command in COMMANDS:
            options = {"text": "Hello.", "where": "voice"} if command == "say" else {}
            for member in (ada, grace):
                words = await told_at_once(member, command, **options)
                assert words.startswith("I'm reconnecting to Discord"), f"/{command}: {words}"
        await reidentifies
        if not is_idle:
            await is_heard(guild, answer, 3.0)
        await all_is_well_again(guild, ada)

    cases = {"idle": Case("no udp", partial(check, is_idle=True))}
    cases |= {"speaking": Case("no udp", partial(check, is_idle=False))}
    await side_by_side(tmp_path, cases)


async def test_an_idle_bot_speaks_again_after_it_has_identified_anew(tmp_path: Path) -> None:
    async def check(guild: VoiceGuild, ada: Speaker) -> None:
        await last_word(await ada.says(1, 0.6))
        await guild.reidentifies(stub_seconds=2.0)
        await asyncio.sleep(0.5)
        await all_is_well_again(guild, ada)

    await in_modes(tmp_path, MODES, check)
