"""Whoever is blocked, and any voice that may not be used, falls silent; the others go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bot.errors import Reason
from bot.guilds.records import EVERYWHERE, FreezeKind
from bot.interface.wording.sentences import REFUSALS, link_commands
from bot.voices.rights import Share
from tests.support.voice_guild import SPOKEN, last_word
from tests.support.voice_words import one_speaks_and_two_wait, waits_for

if TYPE_CHECKING:
    from tests.support.voice_guild import Speaker, VoiceGuild

pytestmark = [
    pytest.mark.realtime,
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning"),  # discord.py
]


@pytest.mark.parametrize(
    "reason",
    [Reason.BLOCKED_HERE, Reason.VOICE_FROZEN, Reason.VOICE_DELETED_MEANWHILE],
)
async def test_what_is_heard_and_queued_ends_for_one_alone(
    guild: VoiceGuild, ada: Speaker, grace: Speaker, reason: Reason
) -> None:
    bot, person = guild.server.bot, ada.actor.id
    moderation = bot.policy.moderation
    said, waits, others = await one_speaks_and_two_wait(guild, ada, grace)
    voice = await bot.library.find(person, "ada")
    if reason is Reason.BLOCKED_HERE:
        await moderation.block(person, guild.handle.id, by=None)
    elif reason is Reason.VOICE_FROZEN:
        await moderation.freeze(voice.id, person, EVERYWHERE, FreezeKind.FROZEN, by=None)
    else:
        await bot.library.delete(voice)
    await bot.enforcement.enforce()

    sentence = link_commands(REFUSALS[reason], bot.command_ids)
    assert [await last_word(answer, within=5) for answer in (said, waits)] == [sentence] * 2
    assert SPOKEN in (await last_word(others) or "")


async def test_what_waits_ends_when_its_voice_is_shared_no_more(
    guild: VoiceGuild, ada: Speaker, grace: Speaker
) -> None:
    bot = guild.server.bot
    library, here = bot.library, guild.handle.id
    voice = await library.find(ada.actor.id, "ada")
    await library.sharing.share(voice, Share.with_everyone(here), owner_name="ada")
    own = await ada.says(1, 2.0)
    await guild.call.begins()
    borrowed = await grace.types("say", text="Hello.", voice="Ada", where="voice")
    await waits_for(borrowed, "in the queue")
    await library.sharing.unshare(voice)
    await bot.enforcement.enforce()

    sentence = REFUSALS[Reason.VOICE_UNSHARED_MEANWHILE]
    assert (await last_word(borrowed, within=5) or "").startswith(sentence)
    assert SPOKEN in (await last_word(own) or "")
