"""Speech that is only live says in the voice channel's chat which voice it is, and who asked."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from bot.interface import live_attribution
from bot.interface.live_attribution import ONCE_IN_SECONDS
from bot.voices.rights import Share
from tests.support.marked_speech import CHUNK_SECONDS, item_text
from tests.support.public_words import in_queue, in_voice_chat
from tests.support.voice_guild import SPOKEN, eventually

if TYPE_CHECKING:
    from bot.interface.live_attribution import LiveAttributions
    from tests.support.discord_server import Answer
    from tests.support.marked_speech import MarkedBackend
    from tests.support.voice_guild import Speaker, VoiceGuild

pytestmark = pytest.mark.realtime


def told(guild: VoiceGuild) -> list[str]:
    """What the chat of the lounge was told."""
    return [message.content for message in guild.lounge.history()]


def live(guild: VoiceGuild) -> LiveAttributions:
    return guild.server.bot.live_attributions


async def is_over(guild: VoiceGuild, answer: Answer) -> None:
    """Speech was heard to its end, and the chat was told of it if it is to be told."""
    await eventually(lambda: SPOKEN in answer.told)
    await eventually(lambda: not live(guild)._telling)


async def decides(guild: VoiceGuild, **settings: Any) -> None:
    """The server's admins change its settings."""
    kept = guild.server.bot.policy.settings
    await kept.change(guild.handle.id, lambda before: replace(before, **settings))


async def test_each_person_is_named_once_an_hour(
    guild: VoiceGuild, ada: Speaker, grace: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours = 0.0
    monkeypatch.setattr(live(guild), "_clock", lambda: hours * ONCE_IN_SECONDS)
    for speaker, item in ((ada, 1), (ada, 2), (grace, 3)):
        await is_over(guild, await speaker.says(item, 0.5))
    assert len(told(guild)) == 2, "ada's second speech adds nothing"
    for words, speaker in zip(told(guild), (ada, grace), strict=True):
        assert words.startswith(in_voice_chat(speaker.actor.name, speaker))
        assert words.endswith("shows who asked for what I say.")
        assert "Item" not in words, "what is said isn't told"
    bodies = guild.server.requests("POST", f"/channels/{guild.lounge.id}/messages")
    assert [body["allowed_mentions"] for body in bodies] == [{"parse": []}] * 2, "pings nobody"

    hours = 1.0
    await is_over(guild, await ada.says(4, 0.5))
    assert [words.startswith(in_voice_chat("ada", ada)) for words in told(guild)] == [
        True,
        False,
        True,
    ]


async def test_the_words_can_be_reported_like_the_speech(
    guild: VoiceGuild, ada: Speaker, grace: Speaker
) -> None:
    await is_over(guild, await ada.says(1, 0.5))
    [message] = guild.lounge.history()
    await guild.server.bot.policy.audit.written()
    subject = await guild.server.bot.reporting.posted(message.id, grace.actor.id)
    assert (subject.owner_id, subject.channel_id) == (ada.actor.id, guild.lounge.id)
    assert subject.voice_id is not None


async def test_what_is_posted_as_well_has_its_words_there(guild: VoiceGuild, ada: Speaker) -> None:
    answer = await ada.types("say", text=item_text(1, 0.5), where="both")
    await eventually(lambda: answer.posted)
    await is_over(guild, answer)
    assert told(guild) == []


async def test_what_was_to_be_posted_but_was_stopped_was_only_heard(
    guild: VoiceGuild, ada: Speaker, backend: MarkedBackend
) -> None:
    async def at_its_own_speed(_item: int, _offset: float) -> None:
        await asyncio.sleep(CHUNK_SECONDS)

    backend.on_chunk = at_its_own_speed
    answer = await ada.types("say", text=item_text(1, 9.0), where="both")
    await guild.call.begins()
    await ada.presses(answer.private, "Stop")
    await eventually(lambda: answer.told.startswith("Stopped"))
    assert not answer.posted
    await eventually(lambda: told(guild))
    assert told(guild)[0].startswith(in_voice_chat("ada", ada))


async def test_a_server_can_turn_it_off_and_on(guild: VoiceGuild, ada: Speaker) -> None:
    await decides(guild, live_attribution=False)
    await is_over(guild, await ada.says(1, 0.5))
    assert told(guild) == []
    await decides(guild, live_attribution=True)
    await is_over(guild, await ada.says(2, 0.5))
    assert len(told(guild)) == 1


@pytest.mark.parametrize("fault", ["may not post", "refused", "fails", "a defect"])
async def test_speech_is_heard_if_the_chat_cannot_be_told(
    guild: VoiceGuild, ada: Speaker, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/channels/{guild.lounge.id}/messages"
    if fault == "may not post":
        await guild.channel.set_permissions(guild.channel.guild.me, send_messages=False)
    elif fault == "refused":
        guild.server.breaks("POST", path, status=403, code=50013)
    elif fault == "fails":
        guild.server.breaks("POST", path, status=400, code=50035, times=2)
    else:
        monkeypatch.setattr(live_attribution, "words", None)
    await is_over(guild, await ada.says(1, 0.5))
    assert told(guild) == []
    tries = len(guild.server.requests("POST", path))
    assert tries == {"refused": 1, "fails": 2}.get(fault, 0), "as it begins, and at its end"

    await guild.channel.set_permissions(guild.channel.guild.me, send_messages=True)
    await is_over(guild, await ada.says(2, 0.5))
    assert len(told(guild)) == (fault in {"may not post", "fails"}), "refusals wait for an hour"


async def test_not_everybody_is_remembered(
    guild: VoiceGuild, ada: Speaker, grace: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_attribution, "MAX_REMEMBERED", 1)
    for speaker, item in ((ada, 1), (grace, 2), (ada, 3)):
        await is_over(guild, await speaker.says(item, 0.5))
        assert len(live(guild)._told_at) == 1
    assert len(told(guild)) == 3


async def test_whose_voice_it_is_is_told_if_somebody_else_asked(
    guild: VoiceGuild, ada: Speaker, grace: Speaker
) -> None:
    library = guild.server.bot.library
    voice, everyone = await library.find(ada.actor.id, "ada"), Share.with_everyone(guild.handle.id)
    await library.sharing.share(voice, everyone, owner_name="ada")
    async with guild.turns:
        answer = await grace.types("say", text=item_text(1, 2.0), voice="ada", where="voice")
    await eventually(lambda: len(told(guild)) == 1)
    async with guild.turns:
        queue = await grace.types("queue")
    await eventually(lambda: queue.private is not None and bool(queue.told))
    assert in_queue("ada", "Item 1, 20 tenths of a second", grace, owner=ada) in queue.told
    assert told(guild)[0].startswith(in_voice_chat("ada", grace, owner=ada))
    await is_over(guild, answer)


async def test_a_message_that_is_read_aloud_is_named(
    guild: VoiceGuild, ada: Speaker, grace: Speaker
) -> None:
    async with guild.turns:
        message = await grace.actor.send(guild.server.channel, item_text(1, 2.0))
        reading = await ada.uses_menu("Speak this message", message)
    await eventually(lambda: len(told(guild)) == 1)
    async with guild.turns:
        queue = await grace.types("queue")
    await eventually(lambda: queue.private is not None and bool(queue.told))
    whose = f"asked by {ada.actor.mention}, reading [a message]({message.jump_url}) by "
    assert f"{whose}{grace.actor.mention})" in queue.told
    assert f"{whose}{grace.actor.mention})" in told(guild)[0]
    await is_over(guild, reading)
