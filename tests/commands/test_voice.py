"""`/voice`, `/forget` and `/help` as people use them."""

from __future__ import annotations

import asyncio
import io
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import soundfile
from discord import app_commands

from backend.contract import BackendUnavailableError, Heard, VoicePrompt
from bot.errors import Reason
from bot.interface.wording.sentences import PREVIEW_NOTICE, REFUSALS, link_commands
from tests.voices.people import consent_of

if TYPE_CHECKING:
    from tests.support.discord_server import Member, Server
    from tests.support.scripted_backend import ScriptedBackend


async def has_voices(server: Server, member: Member, *names: str) -> None:
    for name in names:
        await server.bot.library.save(
            member.actor.id,
            name,
            clip_flac=b"flac",
            clip_seconds=7.25,
            transcript="What *was* said.",
            language=None,
            prompt=VoicePrompt(b"300", "scripted/1"),
            consent=consent_of(member.actor.id),
            guild_id=None,
        )


def enabled_buttons(components: list[dict[str, object]]) -> list[str]:
    row = components[0]["components"]
    assert isinstance(row, list)
    return [button["label"] for button in row if not button.get("disabled")]


async def test_list_is_empty_at_first_and_says_what_to_do(ada: Member) -> None:
    answer = await ada.types("voice list")
    assert answer.told.startswith("You have no saved voice yet.")
    assert answer.private is not None
    assert answer.private.ephemeral


async def test_list_shows_pages_that_can_be_turned(server: Server, ada: Member) -> None:
    await has_voices(server, ada, *(f"Voice {number:02}" for number in range(23)))
    answer = await ada.types("voice list")
    assert answer.private is not None
    assert answer.told.startswith("You have 23 voices. Page 1 of 3.")
    assert answer.told.count("\n") == 10
    assert "7.2 s · not used yet" in answer.told
    assert enabled_buttons(answer.private.components) == ["Next ▶"]

    await ada.presses(answer.private, "Next ▶")
    await ada.presses(answer.private, "Next ▶")
    assert answer.told.startswith("You have 23 voices. Page 3 of 3.")
    assert enabled_buttons(answer.private.components) == ["◀ Previous"]
    await ada.presses(answer.private, "◀ Previous")
    assert "Page 2 of 3" in answer.told


async def test_list_goes_back_when_its_last_page_has_gone(server: Server, ada: Member) -> None:
    await has_voices(server, ada, *(f"Voice {number:02}" for number in range(11)))
    answer = await ada.types("voice list")
    [oldest] = (await server.bot.library.page(ada.actor.id, offset=10)).voices
    await server.bot.library.delete(oldest)
    await ada.presses(answer.private, "Next ▶")
    assert answer.told.startswith("You have 10 voices.")
    assert answer.private is not None
    assert answer.private.components == []


async def test_info_shows_everything_that_is_kept(server: Server, ada: Member) -> None:
    await has_voices(server, ada, "My `voice`")
    answer = await ada.types("voice info", voice="my `VOICE`")
    assert answer.private is not None
    [card] = answer.private.embeds
    shown = {field.name: field.value for field in card.fields}
    assert card.description == "**Transcript:** What \\*was\\* said."
    assert shown["Made for"] == "scripted/1"
    assert card.title == "My \\`voice\\`"
    assert shown["Recording"] == "7.2 s"
    assert shown["Last used"] == "not used yet"
    assert shown["Language"] == "Found from the text"
    assert "“This is my own voice. I will" in str(shown["Consent"])


async def test_rename_keeps_the_voice(server: Server, ada: Member) -> None:
    await has_voices(server, ada, "Old", "Other")
    answer = await ada.types("voice rename", voice="old", new_name="New")
    assert answer.told == "Done. That voice is now called **New**."
    taken = await ada.types("voice rename", voice="New", new_name="OTHER")
    assert taken.told.startswith("You already have a voice with that name.")
    missing = await ada.types("voice rename", voice="Old", new_name="Third")
    assert missing.told.startswith("You have no voice with that name.")


async def test_transcript_teaches_the_voice_what_is_really_said(
    server: Server, ada: Member, backend: ScriptedBackend, recording: bytes
) -> None:
    backend.heard = Heard("The perch canoe slid.")
    await ada.clones(recording, name="Ada")
    backend.heard = Heard("The perch canoe slid.", differs=False)

    form = await ada.types("voice transcript", voice="ada")
    assert form.field_of_form("Transcript") == "The perch canoe slid."
    answer = await ada.submits(form, {"Transcript": " The birch canoe slid. "})

    assert answer.told == "Done. I learned **Ada** again with that transcript."
    assert [clip.transcript for clip in backend.clips] == [None, "The birch canoe slid."]
    assert backend.clips[0].pcm == backend.clips[1].pcm
    voice = await server.bot.library.find(ada.actor.id, "Ada")
    assert voice.transcript == "The birch canoe slid."


async def test_transcript_says_if_something_else_is_heard(
    ada: Member, backend: ScriptedBackend, recording: bytes
) -> None:
    await ada.clones(recording, name="Ada")
    backend.heard = Heard("The birch *canoe* slid.", differs=True)
    form = await ada.types("voice transcript", voice="Ada")
    answer = await ada.submits(form, {"Transcript": "Rice is served in bowls."})
    assert answer.told == (
        "Done. I learned **Ada** again with that transcript. "
        "Your transcript doesn't match. I heard: “The birch \\*canoe\\* slid”. "
        "If I'm right, please press “Correct the transcript”."
    )


async def test_transcript_that_cannot_be_learned_changes_nothing(
    server: Server, ada: Member, backend: ScriptedBackend, recording: bytes
) -> None:
    async def fail(_clip: object) -> None:
        raise BackendUnavailableError("it is gone")

    await ada.clones(recording, name="Ada", transcript="The birch canoe slid.")
    form = await ada.types("voice transcript", voice="Ada")
    backend.on_prepare = fail
    answer = await ada.submits(form, {"Transcript": "Something else."})
    assert answer.told.startswith("The voice engine isn't available")
    voice = await server.bot.library.find(ada.actor.id, "Ada")
    assert voice.transcript == "The birch canoe slid."
    assert voice.prompt_models == ("scripted/1",)


async def test_transcript_is_refused_before_it_is_typed(server: Server, ada: Member) -> None:
    await ada.saves_voice()
    await server.bot.policy.settings.change(
        server.guild.id, lambda decided: replace(decided, clone_roles=frozenset({1}))
    )
    answer = await ada.types("voice transcript", voice="ada")
    assert answer.result.modal is None
    assert answer.told.startswith("In this server, only members with the role")


async def test_transcript_is_refused_before_discord_gives_up(
    server: Server, ada: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_arguments: object) -> None:
        await asyncio.sleep(3_600)

    await ada.saves_voice()
    monkeypatch.setattr(server.bot.library.sharing, "find", hang)
    answer = await ada.types("voice transcript", voice="ada")
    assert answer.told.startswith("I can't look that up right now")


async def test_transcript_of_a_voice_that_is_not_there_is_a_sentence(ada: Member) -> None:
    answer = await ada.types("voice transcript", voice="Ada")
    assert answer.told.startswith("You have no voice with that name.")


async def test_delete_asks_first(server: Server, ada: Member) -> None:
    await has_voices(server, ada, "Ada", "Other")
    await ada.types("voice default", voice="Ada")
    assert (await ada.types("voice list")).told.splitlines()[1:] == [
        "**Other** · 7.2 s · not used yet",
        "**Ada** · **default** · 7.2 s · not used yet",
    ]
    asked = await ada.types("voice delete", voice="ada")
    assert asked.told == (
        "Delete the voice **Ada**? This can't be undone. `/privacy export` first gives you a copy."
    )
    await ada.presses(asked.private, "Keep")
    assert asked.told == "Kept. **Ada** is still there."
    assert (await server.bot.library.page(ada.actor.id)).total == 2

    asked = await ada.types("voice delete", voice="ada")
    await ada.presses(asked.private, "Delete")
    assert asked.told == link_commands(
        "Deleted **Ada** and its recording. "
        "It was your default; choose another with `/voice default`.",
        server.bot.command_ids,
    )
    asked = await ada.types("voice delete", voice="Other")
    await ada.presses(asked.private, "Delete")
    assert asked.told == "Deleted **Other** and its recording."
    assert (await server.bot.library.page(ada.actor.id)).total == 0


async def test_delete_takes_the_voice_that_was_asked_about(server: Server, ada: Member) -> None:
    await has_voices(server, ada, "Ada")
    asked = await ada.types("voice delete", voice="Ada")
    await server.bot.library.rename(ada.actor.id, "Ada", "Old Ada")
    await has_voices(server, ada, "Ada")
    await ada.presses(asked.private, "Delete")
    [kept] = (await server.bot.library.page(ada.actor.id)).voices
    assert kept.name == "Ada"


async def test_the_buttons_of_a_list_go_before_they_fail(server: Server, ada: Member) -> None:
    await has_voices(server, ada, *(f"Voice {number:02}" for number in range(11)))
    answer = await ada.types("voice list")
    await server.env.advance_time(601)
    assert answer.private is not None
    assert answer.private.components == []


async def test_forget_deletes_voices_and_consents_of_this_person_only(
    server: Server, ada: Member, grace: Member
) -> None:
    await has_voices(server, ada, "One", "Two")
    await has_voices(server, grace, "Three")
    asked = await ada.types("forget")
    await ada.presses(asked.private, "Delete")
    assert asked.told == "Deleted 2 voices with their recordings, and your consent records."
    assert not await server.bot.library.keeps_anything_about(ada.actor.id)
    assert (await server.bot.library.page(grace.actor.id)).total == 1


async def test_forget_says_at_once_if_nothing_is_kept(
    server: Server, ada: Member, grace: Member
) -> None:
    await has_voices(server, grace, "Three")
    answer = await ada.types("forget")
    assert answer.told == REFUSALS[Reason.NOTHING_KEPT]
    assert answer.private is not None
    assert answer.private.components == [], "there is nothing to be sure about"


async def test_forget_that_is_asked_twice_says_the_second_time_that_nothing_is_left(
    server: Server, ada: Member
) -> None:
    await has_voices(server, ada, "One")
    asked, again = await ada.types("forget"), await ada.types("forget")
    await ada.presses(asked.private, "Delete")
    await ada.presses(again.private, "Delete")
    assert again.told == REFUSALS[Reason.NOTHING_KEPT]


async def test_help_says_what_is_kept_and_how_to_delete_it(ada: Member) -> None:
    answer = await ada.types("help")
    assert answer.private is not None
    [page] = answer.private.embeds
    shown = {field.name: str(field.value) for field in page.fields}
    kept = shown["What I keep about you"].split("\n")
    assert "cleaned recording" in kept[0]
    assert all(line.startswith("- ") for line in kept), "a list"
    assert "`/forget`" in shown["Get it or delete it"]
    assert shown["Voice engine"] == f"{PREVIEW_NOTICE} It's ready."


async def test_help_says_what_a_good_recording_is(ada: Member) -> None:
    answer = await ada.types("help")
    assert answer.private is not None
    [page] = answer.private.embeds
    [advice] = [field.value for field in page.fields if field.name == "A good recording"]
    assert advice is not None
    for word in ("3 seconds", "10 to 20", "one person", "quiet", "without music"):
        assert word in advice


async def test_help_names_every_command_that_everybody_has(server: Server, ada: Member) -> None:
    answer = await ada.types("help")
    assert answer.private is not None
    [page] = answer.private.embeds
    shown = "\n".join(str(field.value) for field in page.fields)
    for command in server.bot.tree.walk_commands():
        if isinstance(command, app_commands.Group) or command.name == "help":
            continue
        if (command.root_parent or command).default_permissions is None:
            assert f"`/{command.qualified_name}`" in shown


async def test_a_voice_has_a_speed_unless_say_chooses_another(
    ada: Member, recording: bytes
) -> None:
    await ada.clones(recording, name="Slow")

    async def seconds(**options: object) -> float:
        answer = await ada.types("say", text="This sentence takes a while to say.", **options)
        [file] = await answer.files()
        return float(soundfile.info(io.BytesIO(file)).duration)

    usual = await seconds()
    chosen = await ada.types("voice speed", voice="Slow", speed=0.5)
    assert chosen.told.startswith("Done. **Slow** speaks 0.5 times as fast now.")
    assert await seconds() == pytest.approx(2 * usual, rel=0.1)
    assert await seconds(speed=2.0) == pytest.approx(usual / 2, rel=0.1)
    told = (await ada.types("voice info", voice="Slow")).private
    assert told is not None
    assert [each.value for each in told.embeds[0].fields if each.name == "Speed"] == ["0.5"]

    back = await ada.types("voice speed", voice="Slow", speed=1)
    assert back.told == "Done. **Slow** speaks at its own speed again."
    assert await seconds() == pytest.approx(usual, rel=0.01)
