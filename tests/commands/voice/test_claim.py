"""What is heard in a voice channel can be claimed, and ends at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.voice_guild import last_word
from tests.support.voice_words import told

if TYPE_CHECKING:
    from tests.support.voice_guild import Speaker, VoiceGuild

pytestmark = [
    pytest.mark.realtime,
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning"),  # discord.py
]


async def test_who_hears_their_own_voice_ends_it(
    guild: VoiceGuild, ada: Speaker, grace: Speaker
) -> None:
    assert (await told(grace, "voice claim")).startswith("I haven't said anything in your voice")
    said = await ada.says(1, 9.0)
    await guild.call.begins()
    assert (await told(ada, "voice claim")).startswith("You made that yourself")

    assert (await told(grace, "voice claim")).startswith("That voice is frozen now.")
    assert (await last_word(said, within=5) or "").startswith("That voice is frozen:")
    assert (await told(ada, "say", text="Hello.", where="voice")).startswith(
        "That voice is frozen:"
    )
    heard_last = guild.server.bot.players.last_spoken(guild.channel)
    assert heard_last is not None
    assert heard_last.owner_id == ada.actor.id
