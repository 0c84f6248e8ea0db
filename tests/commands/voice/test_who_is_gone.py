"""Whoever is timed out, thrown out or banned is not heard on; who only leaves voice is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.marked_speech import passages
from tests.support.voice_guild import SPOKEN, eventually, last_word
from tests.support.voice_words import one_speaks_and_two_wait, waits_for

if TYPE_CHECKING:
    from tests.support.voice_guild import Speaker, VoiceGuild

pytestmark = pytest.mark.realtime

TIMED_OUT = (
    "You're timed out in this server, so I can't speak for you. Please try again when that's over."
)
GONE = "You're no longer in that server, so I stopped speaking for you there."
HOW = {"timed out": TIMED_OUT, "thrown out": GONE, "banned": GONE}


def is_dealt_with(member: Speaker, how: str) -> None:
    """A moderator does something about a member."""
    if how == "timed out":
        member.is_timed_out()
    else:
        member.is_removed(ban=how == "banned")


def look_ups(guild: VoiceGuild) -> int:
    """How often the bot has asked Discord about members of the guild."""
    return len(guild.server.requests("GET", f"/guilds/{guild.handle.id}/members/"))


@pytest.mark.parametrize("how", HOW)
async def test_what_they_say_and_what_waits_ends_but_not_what_others_say(
    guild: VoiceGuild, ada: Speaker, grace: Speaker, how: str
) -> None:
    said, waits, others = await one_speaks_and_two_wait(guild, ada, grace)
    is_dealt_with(ada, how)
    assert await last_word(said, within=3) == HOW[how]
    assert await last_word(waits, within=3) == HOW[how]
    assert SPOKEN in (await last_word(others) or "")
    heard = await guild.call.heard_until_quiet()
    assert heard.seconds < 4.0
    assert [row.item for row in passages(heard)] == [1, 3]


async def test_who_leaves_voice_is_heard_on(guild: VoiceGuild, ada: Speaker) -> None:
    said, waits = await ada.says(1, 1.5), await ada.says(2, 0.5)
    await guild.call.begins()
    before = look_ups(guild)
    ada.leaves_voice()
    assert SPOKEN in (await last_word(said) or "")
    assert SPOKEN in (await last_word(waits) or "")
    assert look_ups(guild) - before == 1, "once, and not for each item"


async def test_nobody_is_asked_about_who_stays_in_voice(guild: VoiceGuild, ada: Speaker) -> None:
    answer = await ada.says(1, 1.0)
    await guild.call.begins()
    await ada.goes_to(guild.studio)
    assert SPOKEN in (await last_word(answer) or "")
    assert look_ups(guild) == 0


@pytest.mark.slow
@pytest.mark.parametrize("how", HOW)
async def test_who_is_dealt_with_after_leaving_voice_is_not_heard(
    guild: VoiceGuild, ada: Speaker, grace: Speaker, how: str
) -> None:
    """Discord tells nothing of that: the bot asks again before it says what waits."""
    first = await grace.says(1, 8.0)  # longer than the bot goes by what it knows of ada
    await guild.call.begins()
    waits = await ada.says(2, 1.0)
    await waits_for(waits, "in the queue")
    ada.leaves_voice()
    await eventually(lambda: look_ups(guild) == 1)
    is_dealt_with(ada, how)
    assert SPOKEN in (await last_word(first) or "")
    assert await last_word(waits) == HOW[how]
    heard = await guild.call.heard_until_quiet()
    assert [row.item for row in passages(heard)] == [1]


@pytest.mark.slow
@pytest.mark.lasts(20)
async def test_who_is_dealt_with_while_heard_from_afar_is_not_heard_to_the_end(
    guild: VoiceGuild, ada: Speaker
) -> None:
    answer = await ada.says(1, 30.0)  # longer than marks reach, but nobody listens to them
    await guild.call.begins()
    ada.leaves_voice()
    await eventually(lambda: look_ups(guild) == 1)
    ada.is_removed()
    assert await last_word(answer, within=12) == GONE


@pytest.mark.parametrize(("status", "code"), [(500, 0), (403, 50001), (404, 10004)])
async def test_nobody_is_silenced_because_discord_gives_no_answer(
    guild: VoiceGuild, ada: Speaker, status: int, code: int
) -> None:
    said, waits = await ada.says(1, 1.0), await ada.says(2, 0.5)
    await guild.call.begins()
    path = f"/guilds/{guild.handle.id}/members/{ada.actor.id}"
    guild.server.breaks("GET", path, status=status, code=code, times=100)
    ada.leaves_voice()
    assert SPOKEN in (await last_word(said) or "")
    assert SPOKEN in (await last_word(waits) or "")


async def test_a_timeout_that_is_over_silences_nobody(guild: VoiceGuild, ada: Speaker) -> None:
    said, waits = await ada.says(1, 1.0), await ada.says(2, 0.5)
    await guild.call.begins()
    ada.is_timed_out(-1.0)
    assert SPOKEN in (await last_word(said) or "")
    assert SPOKEN in (await last_word(waits) or "")
