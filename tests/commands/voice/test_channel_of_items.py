"""What is queued belongs to a voice channel: it is heard there, or its owner is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bot.interface.voice_channels import HIDDEN_QUEUE
from tests.support.marked_speech import item_text, passages
from tests.support.voice_guild import SPOKEN, eventually, last_word
from tests.support.voice_words import told, waits_for

if TYPE_CHECKING:
    from tests.support.discord_server import Answer
    from tests.support.voice_guild import Speaker, VoiceGuild

pytestmark = [
    pytest.mark.realtime,
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning"),  # discord.py
]

MOVED = (
    "I was moved to another voice channel before I was done. "
    "Use `/say` again where you want to hear me."
)
HIDDEN = "secret-plans"


async def hide_lounge(guild: VoiceGuild) -> None:
    """Only those who are in the lounge can see it from now on."""
    await guild.channel.edit(name=HIDDEN)
    everybody = guild.channel.guild.default_role
    await guild.channel.set_permissions(guild.channel.guild.me, view_channel=True, connect=True)
    await guild.channel.set_permissions(everybody, view_channel=False)


async def ends_unheard_elsewhere(guild: VoiceGuild, *answers: Answer) -> None:
    """What was for the lounge ends, with a sentence, and nothing of it is heard in the studio."""
    for answer in answers:
        assert await last_word(answer, within=5) == MOVED
    await eventually(lambda: guild.bot_is_in == guild.studio.id)
    connection = guild.server.bot.players.of(guild.handle.id).connection
    await eventually(lambda: connection.channel and connection.channel.id == guild.studio.id)
    sent = len(guild.call.packets)
    newcomer = await guild.speaker("newcomer")
    await newcomer.goes_to(guild.studio)
    assert SPOKEN in (await last_word(await newcomer.says(9, 0.5)) or "")
    heard = await guild.call.heard_until_quiet()
    assert [passage.item for passage in passages(heard)][-1] == 9
    assert len(guild.call.packets) > sent


async def one_speaks_and_one_waits(guild: VoiceGuild, ada: Speaker, other: Speaker) -> list[Answer]:
    """Ada's long item is heard, and the other's waits behind it."""
    said = await ada.says(1, 9.0)
    await guild.call.begins()
    waits = await other.says(2, 1.0)
    await waits_for(waits, "in the queue")
    return [said, waits]


async def test_a_bot_that_is_dragged_away_takes_nothing_along(
    guild: VoiceGuild, ada: Speaker, grace: Speaker
) -> None:
    answers = await one_speaks_and_one_waits(guild, ada, grace)
    await guild.move_bot(guild.studio)
    await ends_unheard_elsewhere(guild, *answers)


async def test_a_bot_that_is_called_away_takes_nothing_along(
    guild: VoiceGuild, ada: Speaker, grace: Speaker
) -> None:
    answers = await one_speaks_and_one_waits(guild, ada, ada)
    await grace.goes_to(guild.studio)
    await grace.may(guild.lounge, move_members=True)
    assert (await told(grace, "join")).startswith("I'm in")
    await ends_unheard_elsewhere(guild, *answers)


async def test_a_bot_that_is_dragged_while_a_moderator_keeps_it_quiet_takes_nothing_along(
    guild: VoiceGuild, ada: Speaker
) -> None:
    await told(ada, "join")
    guild.moderate_bot(mute=True)
    waits = await ada.says(1, 1.0)
    await waits_for(waits, "Waiting for a moderator to let me speak")
    await guild.move_bot(guild.studio)
    guild.moderate_bot(mute=False)
    await ends_unheard_elsewhere(guild, waits)


async def test_two_who_call_the_bot_at_once_do_not_take_it_from_each_other(
    guild: VoiceGuild, ada: Speaker, grace: Speaker
) -> None:
    """Whoever is ready first has it. Reading two texts takes threads of their own."""
    await grace.goes_to(guild.studio)
    answers = [await ada.says(1, 1.0), await grace.says(2, 1.0)]
    told_each = [await last_word(answer) or "" for answer in answers]
    refused, spoken = sorted(told_each, key=lambda words: SPOKEN in words)
    assert SPOKEN in spoken
    assert refused.startswith("I'm with people in")


async def test_the_queue_shows_texts_only_to_those_who_see_the_channel(
    guild: VoiceGuild, ada: Speaker, grace: Speaker
) -> None:
    outsider = await guild.speaker("outsider")
    await outsider.goes_to(guild.studio)
    await hide_lounge(guild)
    await ada.says(1, 9.0)
    await guild.call.begins()
    assert "Item 1" in await told(grace, "queue"), "who is in the channel sees it"
    assert await told(outsider, "queue") == HIDDEN_QUEUE


async def test_the_queues_pages_are_shown_only_as_long_as_the_channel_is(
    guild: VoiceGuild, ada: Speaker
) -> None:
    reader = guild.member("reader")
    for item in range(7):
        await ada.says(item, 9.0)
    player = guild.server.bot.players.of(guild.handle.id)
    await eventually(lambda: len(player.entries) == 7 and player.current)
    answer = await reader.types("queue")
    await waits_for(answer, "Page 1 of 2.")
    await hide_lounge(guild)
    await reader.presses(answer.private, "Next ▶")
    await eventually(lambda: answer.told == HIDDEN_QUEUE)


async def test_a_hidden_channel_is_named_to_nobody_who_cannot_see_it(
    guild: VoiceGuild, ada: Speaker
) -> None:
    outsider = await guild.speaker("outsider")
    await outsider.goes_to(guild.studio)
    await hide_lounge(guild)
    await ada.says(1, 9.0)
    await guild.call.begins()
    commands = [
        ("join", {}),
        ("leave", {}),
        ("skip", {}),
        ("stop", {}),
        ("queue", {}),
        ("say", {"text": item_text(2, 0.5), "where": "voice"}),
    ]
    for command, options in commands:
        words = await told(outsider, command, **options)
        assert HIDDEN not in words
        assert str(guild.lounge.id) not in words, (command, words)
    assert (await told(outsider, "join")).startswith("I'm with people in another voice channel")


@pytest.mark.parametrize("command", ["forget", "voice delete"])
async def test_a_deleted_voice_falls_silent(
    guild: VoiceGuild, ada: Speaker, grace: Speaker, command: str
) -> None:
    said = await ada.says(1, 9.0)
    await guild.call.begins()
    waits, others = await ada.says(2, 1.0), await grace.says(3, 0.5)
    await waits_for(waits, "in the queue")
    await waits_for(others, "in the queue")
    options = {"voice": "ada"} if command == "voice delete" else {}
    question = await ada.types(command, **options)
    await eventually(lambda: question.private is not None and question.private.components)
    await ada.presses(question.private, "Delete")
    for answer in (said, waits):
        told_so = "That voice was deleted, so I stopped speaking with it."
        assert await last_word(answer, within=3) == told_so
    assert SPOKEN in (await last_word(others) or "")


async def test_deleting_one_voice_leaves_the_others_alone(guild: VoiceGuild, ada: Speaker) -> None:
    library = guild.server.bot.library
    await library.rename(ada.actor.id, "ada", "First")
    await ada.saves_voice()
    answer = await ada.types("say", text=item_text(1, 3.0), voice="First", where="voice")
    await guild.call.begins()
    question = await ada.types("voice delete", voice="ada")
    await eventually(lambda: question.private is not None and question.private.components)
    await ada.presses(question.private, "Delete")
    assert SPOKEN in (await last_word(answer) or "")
