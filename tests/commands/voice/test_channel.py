"""`/join`, `/leave`, `/say` into a voice channel, `/queue`, `/skip` and `/stop`, as people use it.

The bot speaks through discord.py's own voice client to a voice server on loopback.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from bot.interface.wording.sentences import PREVIEW_NOTICE
from bot.playback import players as guild_players
from tests.support import failing_databases
from tests.support.loudness import integrated_loudness
from tests.support.marked_speech import MarkedBackend, item_text, passages
from tests.support.public_words import attribution, in_queue
from tests.support.voice_guild import SPOKEN, eventually, last_word
from tests.support.voice_words import told, waits_for

if TYPE_CHECKING:
    from tests.support.voice_guild import Speaker, VoiceGuild

pytestmark = pytest.mark.realtime


async def is_heard(guild: VoiceGuild) -> list[int]:
    return [passage.item for passage in passages(await guild.call.heard_until_quiet())]


def where(guild: VoiceGuild) -> int | None:
    return guild.bot_is_in


async def in_the_lounge(guild: VoiceGuild, who: int, **permissions: Any) -> None:
    """Give somebody permissions in the lounge, or take them away."""
    target = guild.channel.guild.get_member(who)
    assert target is not None
    await guild.channel.set_permissions(target, **permissions)


async def test_say_joins_and_speaks_where_the_member_is(guild: VoiceGuild, ada: Speaker) -> None:
    answer = await ada.types("say", text=item_text(1, 0.6))
    assert await is_heard(guild) == [1]
    assert guild.bot_is_in == guild.lounge.id
    words = await last_word(answer)
    assert words is not None
    assert words.startswith(f"**ada** {SPOKEN} <#{guild.lounge.id}>.")
    assert PREVIEW_NOTICE in words
    assert answer.posted == [], "the others hear it; a message would be noise"


async def test_live_speech_is_as_loud_as_files(guild: VoiceGuild, ada: Speaker) -> None:
    await ada.types("say", text=item_text(1, 2.0))
    heard = await guild.call.heard_until_quiet()
    assert integrated_loudness(heard.samples, 48_000) == pytest.approx(-18, abs=3)


@pytest.mark.parametrize("speed", [0.5, 2.0])
async def test_live_speech_at_another_speed_has_its_pitch(
    guild: VoiceGuild, ada: Speaker, speed: float
) -> None:
    await ada.types("say", text=item_text(1, 1.5), speed=speed)
    heard = (await guild.call.heard_until_quiet()).audible()
    assert heard.seconds == pytest.approx(1.5 / speed, rel=0.2)
    assert {passage.item for passage in passages(heard)} == {1}, "that is its pitch"


async def test_a_member_outside_of_voice_gets_a_file(guild: VoiceGuild) -> None:
    linus = await guild.speaker("linus")
    await linus.actor.leave_voice()
    answer = await linus.types("say", text=item_text(1, 0.6))
    await eventually(lambda: answer.posted)
    assert len(await answer.files()) == 1
    assert guild.bot_is_in is None


async def test_who_asks_for_a_kind_of_file_gets_one(guild: VoiceGuild, ada: Speaker) -> None:
    answer = await ada.types("say", text=item_text(1, 0.6), format="flac")
    await eventually(lambda: answer.posted)
    assert guild.bot_is_in is None


async def test_who_asks_for_voice_and_a_kind_of_file_gets_both(
    guild: VoiceGuild, ada: Speaker
) -> None:
    answer = await ada.types("say", text=item_text(1, 0.6), where="voice", format="flac")
    assert await is_heard(guild) == [1]
    await eventually(lambda: answer.posted)
    [file] = answer.posted[0].attachments
    assert file.filename == "speech.flac"


async def test_whom_nobody_could_hear_is_told(
    guild: VoiceGuild, ada: Speaker, grace: Speaker
) -> None:
    ada.is_moderated(self_deaf=True)
    grace.is_moderated(deaf=True)
    unheard = await last_word(await ada.says(1, 0.6))
    assert unheard is not None
    assert unheard.startswith(f"**ada** {SPOKEN} <#{guild.lounge.id}>, but nobody heard it:")

    grace.is_moderated(deaf=False)
    heard = await last_word(await ada.says(2, 0.6))
    assert heard is not None
    assert heard.startswith(f"**ada** {SPOKEN} <#{guild.lounge.id}>.")


async def test_voice_without_a_voice_channel_is_refused(guild: VoiceGuild) -> None:
    linus = await guild.speaker("linus")
    await linus.actor.leave_voice()
    words = await told(linus, "say", text=item_text(1, 0.6), where="voice")
    assert words == "Join a voice channel first, or use `/say` with `where: file`."


async def test_both_is_heard_and_posted_and_made_once(
    guild: VoiceGuild, ada: Speaker, backend: MarkedBackend
) -> None:
    answer = await ada.types("say", text=item_text(1, 0.6), where="both")
    assert await is_heard(guild) == [1]
    await eventually(lambda: answer.posted)
    assert len(await answer.files()) == 1
    assert SPOKEN in (await last_word(answer) or "")
    assert len(backend.spoken) == 1


async def test_who_waits_sees_the_position_in_the_queue(
    guild: VoiceGuild, ada: Speaker, grace: Speaker
) -> None:
    await ada.says(1, 3.0)
    await guild.call.begins()
    waiting = await grace.says(2, 0.5)
    await waits_for(waiting, "Number 1 in the queue, starts <t:")
    await ada.types("skip")
    assert SPOKEN in (await last_word(waiting) or "")


async def test_a_countdown_needs_no_edits(guild: VoiceGuild, ada: Speaker, grace: Speaker) -> None:
    """Discord's clients count down by themselves."""
    await ada.says(1, 6.0)
    await guild.call.begins()
    waiting = await grace.says(2, 0.5)
    await waits_for(waiting, "Number 1 in the queue, starts <t:")
    await asyncio.sleep(3.0)
    bodies = guild.server.requests("PATCH", "/@original")
    shown = [body["content"] for body in bodies if "Number 1" in (body.get("content") or "")]
    assert len(shown) == 1, shown


async def test_stop_button_ends_the_entry(guild: VoiceGuild, ada: Speaker) -> None:
    answer = await ada.says(1, 9.0)
    await guild.call.begins()
    await eventually(lambda: answer.private is not None and answer.private.components)
    await ada.presses(answer.private, "Stop")
    assert await last_word(answer) == "Stopped, as you asked."
    heard = await guild.call.heard_until_quiet()
    assert heard.seconds < 5
    assert not guild.server.bot.players.of(guild.handle.id).is_busy


async def test_queue_shows_who_and_what_and_when(
    guild: VoiceGuild, ada: Speaker, grace: Speaker
) -> None:
    assert (await told(ada, "queue")).startswith("Nothing is playing or queued.")
    await ada.says(1, 9.0)
    await guild.call.begins()
    for item in (2, 3):
        await ada.says(item, 1.0)
    waiting = await grace.types("say", text=f"{item_text(4, 1.0)} <@{ada.actor.id}> <:pepe:12>")
    await waits_for(waiting, "Number")
    lines = (await told(grace, "queue")).splitlines()
    assert lines[0].startswith(
        f"**Now**: {in_queue('ada', 'Item 1, 90 tenths of a second', ada)} · ends <t:"
    )
    waits = in_queue("grace", "Item 4, 10 tenths of a second @ada :pepe:", grace)
    assert lines[1].startswith(f"1. {waits} · <t:")
    for number, item in ((2, 2), (3, 3)):
        assert lines[number].startswith(f"{number}. {attribution('ada', ada)}: “Item {item},")


async def test_own_entries_are_skipped_at_once_others_by_vote(
    guild: VoiceGuild, ada: Speaker, grace: Speaker
) -> None:
    linus = await guild.speaker("linus")
    answer = await ada.says(1, 9.0)
    await guild.call.begins()
    assert await told(grace, "skip") == "Your vote counts. 1 more vote to skip this."
    assert await told(grace, "skip") == "Your vote counts. 1 more vote to skip this."
    assert await told(linus, "skip") == "Skipped."
    assert await last_word(answer) == "The listeners voted to skip this."
    await waits_for(await ada.says(2, 9.0), "Speaking")
    assert await told(ada, "skip") == "Skipped."
    assert await told(ada, "skip") == "Nothing is playing."


async def test_a_vote_is_won_when_those_who_did_not_vote_leave(
    guild: VoiceGuild, ada: Speaker, grace: Speaker
) -> None:
    linus, alan = [await guild.speaker(name) for name in ("linus", "alan")]
    answer = await ada.says(1, 9.0)
    await guild.call.begins()
    await told(grace, "skip")
    assert await told(linus, "skip") == "Your vote counts. 1 more vote to skip this."
    await alan.actor.leave_voice()
    assert await last_word(answer) == "The listeners voted to skip this."


async def test_a_full_queue_of_long_names_and_texts_can_be_shown(guild: VoiceGuild) -> None:
    name = "*_~|`<>[]()#" * 2 + "12345678"
    speaker = await guild.speaker(name)
    for item in range(10):
        await speaker.types("say", text=f"{item_text(item, 9)}{' *_|' * 20}", where="voice")
    player = guild.server.bot.players.of(guild.handle.id)
    await eventually(lambda: len(player.entries) == 10 and player.current)
    answer = await speaker.types("queue")
    await waits_for(answer, "Page 1 of 3.")
    assert answer.told.startswith("**Now**")


async def test_who_does_not_listen_has_no_vote(guild: VoiceGuild, ada: Speaker) -> None:
    await ada.says(1, 9.0)
    await guild.call.begins()
    outsider = guild.member("outsider")
    assert (await told(outsider, "skip")).startswith("Only people listening in")


async def test_a_moderator_skips_and_stops_for_others(
    guild: VoiceGuild, ada: Speaker, grace: Speaker
) -> None:
    await in_the_lounge(guild, grace.actor.id, mute_members=True)
    first, second, third = [await ada.says(item, 9.0) for item in (1, 2, 3)]
    await guild.call.begins()
    assert await told(grace, "skip") == "Skipped."
    assert await last_word(first) == "grace skipped this."
    assert await told(grace, "stop") == "Stopped. I cleared 2 items."
    for answer in (second, third):
        assert await last_word(answer) == "grace stopped everything."


async def test_stop_ends_only_ones_own_entries(
    guild: VoiceGuild, ada: Speaker, grace: Speaker
) -> None:
    hers = await grace.says(1, 1.5)
    await guild.call.begins()
    mine = [await ada.says(item, 9.0) for item in (2, 3)]
    await waits_for(mine[1], "Number")
    assert await told(ada, "stop") == "Stopped. I cleared 2 items of yours."
    assert await told(ada, "stop") == "You have nothing playing or queued."
    for answer in mine:
        assert await last_word(answer) == "Stopped, as you asked."
    assert SPOKEN in (await last_word(hers) or "")


async def test_join_and_leave(guild: VoiceGuild, ada: Speaker) -> None:
    assert (await told(ada, "leave")).startswith("I'm not in a voice channel.")
    assert (await told(ada, "join")).startswith(f"I'm in <#{guild.lounge.id}>.")
    assert where(guild) == guild.lounge.id
    assert await told(ada, "leave") == f"I left <#{guild.lounge.id}>."
    assert where(guild) is None
    assert (await told(ada, "join")).startswith("I'm in"), "and may come again"


async def test_join_needs_somewhere_to_go(guild: VoiceGuild) -> None:
    outsider = guild.member("outsider")
    assert await told(outsider, "join") == "Join a voice channel first, then use `/join` again."


async def test_the_bot_is_not_taken_from_who_listens(
    guild: VoiceGuild, ada: Speaker, grace: Speaker
) -> None:
    await told(ada, "join")
    await grace.goes_to(guild.studio)
    for command, options in (("join", {}), ("say", {"text": item_text(1, 1), "where": "voice"})):
        words = await told(grace, command, **options)
        assert words.startswith(f"I'm with people in <#{guild.lounge.id}> right now.")
    assert (await told(grace, "leave")).startswith("Others are still listening to me.")
    answer = await grace.types("say", text=item_text(1, 0.5))
    await eventually(lambda: answer.posted)
    await ada.actor.leave_voice()
    assert (await told(grace, "join")).startswith(f"I'm in <#{guild.studio.id}>.")


async def test_leave_waits_for_others(guild: VoiceGuild, ada: Speaker, grace: Speaker) -> None:
    answer = await grace.says(1, 2.0)
    await guild.call.begins()
    assert (await told(ada, "leave")).startswith("I'm still speaking for others.")
    assert SPOKEN in (await last_word(answer) or "")
    assert (await told(ada, "leave")).startswith("I left")


@pytest.mark.parametrize(
    ("permission", "words"),
    [("connect", "I'm not allowed to join"), ("speak", "I'm not allowed to speak in")],
)
async def test_missing_permissions_are_a_sentence(
    guild: VoiceGuild, ada: Speaker, permission: str, words: str
) -> None:
    await in_the_lounge(guild, guild.call.bot_id, **{permission: False})
    assert (await told(ada, "join")).startswith(f"{words} <#{guild.lounge.id}>.")
    answer = await ada.types("say", text=item_text(1, 0.5))
    await eventually(lambda: answer.posted)
    assert guild.bot_is_in is None


async def test_leaves_when_everybody_has_left(
    guild: VoiceGuild, ada: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guild_players, "LEAVE_WHEN_ALONE_SECONDS", 0.3)
    await told(ada, "join")
    guild.server.bot.players._look_after.change_interval(seconds=0.1)
    guild.server.bot.players._look_after.restart()
    answer = await ada.says(1, 9.0)
    await guild.call.begins()
    await asyncio.sleep(0.5)
    assert guild.bot_is_in == guild.lounge.id
    await ada.actor.leave_voice()
    await eventually(lambda: guild.bot_is_in is None)
    assert await last_word(answer) == "Everybody left the voice channel, so I left too."


async def test_leaves_when_nobody_has_anything_to_say(guild: VoiceGuild, ada: Speaker) -> None:
    players = guild.server.bot.players
    players._idle_seconds = 0.4
    await told(ada, "join")
    players._look_after.change_interval(seconds=0.1)
    players._look_after.restart()
    await ada.says(1, 1.0)
    await is_heard(guild)
    await eventually(lambda: guild.bot_is_in is None)


async def test_a_bot_that_stops_tells_who_waits(
    guild: VoiceGuild, ada: Speaker, grace: Speaker
) -> None:
    answers = [await ada.says(1, 9.0)]
    await guild.call.begins()
    answers.append(await grace.says(2, 9.0))
    await waits_for(answers[1], "Number 1")
    await guild.server.bot.close()
    for answer in answers:
        assert answer.told.startswith("I have to restart now.")
    await eventually(lambda: guild.bot_is_in is None)
    assert not [task for task in asyncio.all_tasks() if "bot/playback" in repr(task)]


async def test_a_voice_that_was_deleted_meanwhile_is_not_heard(
    guild: VoiceGuild, ada: Speaker, grace: Speaker
) -> None:
    await grace.says(1, 1.5)
    await guild.call.begins()
    await guild.server.bot.library.forget(ada.actor.id)
    assert (await told(ada, "say", text=item_text(2, 0.5))).startswith("You have no saved voice")
    assert await is_heard(guild) == [1]


async def test_a_muted_bot_waits_until_it_can_be_heard(guild: VoiceGuild, ada: Speaker) -> None:
    await told(ada, "join")
    guild.moderate_bot(mute=True)
    answer = await ada.says(1, 0.6)
    await waits_for(answer, "Waiting for a moderator to let me speak")
    assert not guild.call.packets
    guild.moderate_bot(mute=False)
    assert await is_heard(guild) == [1]


async def test_voice_channels_are_for_servers_only(guild: VoiceGuild) -> None:
    commands = guild.server.bot.tree.get_commands()
    voice = {"join", "leave", "queue", "skip", "stop"}
    assert all(
        getattr(command, "guild_only", False) for command in commands if command.name in voice
    )


async def test_speech_is_heard_though_nothing_can_be_written(
    guild: VoiceGuild, ada: Speaker
) -> None:
    await ada.types("say", text=item_text(1, 2.0))
    await waits_for(await ada.types("say", text=item_text(2, 0.6)), "in the queue")
    async with failing_databases.locked(guild.server.bot.settings.database_url):
        assert await is_heard(guild) == [1, 2]
