"""The button "Again" under speech, as those who press it meet it."""

from __future__ import annotations

import asyncio
import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
import soundfile

from bot.errors import Reason
from bot.guilds.records import EVERYWHERE, FreezeKind
from bot.interface.wording.sentences import REFUSALS, link_commands
from tests.support.public_words import attribution, beside_file, text_beside
from tests.support.report_scene import labels

if TYPE_CHECKING:
    import discord

    from backend.contract import SpeechRequest
    from tests.support.discord_server import Answer, Member, Server
    from tests.support.scripted_backend import ScriptedBackend

AGAIN = "Again"
TEXT = "Hello there, all of you."


@pytest_asyncio.fixture(loop_scope="module")
async def ada(ada: Member) -> Member:
    await ada.saves_voice(name="Bob")
    return ada


async def says(member: Member, text: str = TEXT, **options: Any) -> discord.Message:
    """The message with the words that stand beside what a member has said."""
    return (await member.types("say", text=text, **options)).posted[-1]


async def again(member: Member, message: discord.Message) -> Answer:
    return await member.presses(message, AGAIN)


def sentence(server: Server, reason: Reason, **values: object) -> str:
    return link_commands(REFUSALS[reason].format(**values), server.bot.command_ids)


async def test_again_gives_a_new_take_as_a_new_result(
    ada: Member, backend: ScriptedBackend
) -> None:
    seeds: list[int | None] = []

    async def note_seed(request: SpeechRequest) -> None:
        seeds.append(request.seed)

    backend.on_speak = note_seed
    first = await says(ada, "Hello **there**, [all](of) you: `x < 3`, @everyone! <:wave:12> \\o/")
    answer = await again(ada, first)
    [second] = answer.posted

    assert second.id != first.id
    assert second.content == first.content
    assert len(second.attachments) == 1
    assert answer.private is None, "nothing private is left to read"
    assert backend.spoken[0] == backend.spoken[1], "with all of its words"
    assert seeds == [None, None], "each is sampled anew"
    [third] = (await again(ada, second)).posted
    assert third.content == first.content
    assert labels(third) == [AGAIN]


async def test_it_works_after_a_restart_and_keeps_what_was_chosen(
    server: Server, ada: Member, backend: ScriptedBackend
) -> None:
    fast = await says(ada, format="mp3", speed=2.0, language="English")
    slow = await says(ada, format="wav", speed=0.5)
    native = await says(ada, format="voice-message")
    await ada.saves_voice(name="Newer, and so the default")
    await server.bot.library.rename(ada.actor.id, "Bob", "Bobby")
    await server.restarts()
    languages: list[str] = []

    async def note_language(request: SpeechRequest) -> None:
        languages.append(request.language)

    backend.on_speak = note_language
    seconds = {}
    for before, ending in ((fast, "mp3"), (slow, "wav")):
        [message] = (await again(ada, before)).posted
        assert message.content.startswith(beside_file("Bobby", TEXT, ada))
        [file] = message.attachments
        assert file.filename == f"speech.{ending}"
        seconds[ending] = soundfile.info(io.BytesIO(await file.read())).duration
    assert seconds["wav"] == pytest.approx(4 * seconds["mp3"], rel=0.1)
    sound, words = (await again(ada, native)).posted
    assert sound.flags.voice
    assert words.content.startswith("-# **Bobby**")
    assert text_beside(words.content) == TEXT
    assert labels(words) == [AGAIN]
    assert set(languages) == {"English"}


@pytest.mark.parametrize(
    "text",
    [
        "The butler ||did it||, of course.",
        "This is one sentence of a long story that goes on. " * 8,
        "Milk\nEggs\nSugar",
    ],
)
async def test_there_is_no_button_where_the_message_does_not_tell_all(
    ada: Member, text: str
) -> None:
    assert labels(await says(ada, text)) == []


async def test_only_who_may_use_the_voice_may_press(
    server: Server, ada: Member, grace: Member
) -> None:
    message = await says(ada)
    stranger = await again(grace, message)
    assert stranger.told == sentence(server, Reason.VOICE_NOT_SHARED)
    assert not stranger.posted

    await ada.shares_with_everyone("Bob")
    [shared] = (await again(grace, message)).posted
    assert shared.content.startswith(attribution("Bob", grace, owner=ada)), "it says who asked now"
    await ada.types("voice unshare", voice="Bob")
    for each in (message, shared):
        assert (await again(grace, each)).told == sentence(server, Reason.VOICE_NOT_SHARED)


async def test_it_is_refused_where_say_would_be(server: Server, ada: Member) -> None:
    message, policy, here = await says(ada), server.bot.policy, server.guild.id

    async def refused(reason: Reason, **values: object) -> None:
        answer = await again(ada, message)
        assert answer.told == sentence(server, reason, **values)
        assert not answer.posted

    await policy.moderation.block(ada.actor.id, here, by=None)
    await refused(Reason.BLOCKED_HERE)
    bob = (await server.bot.library.find(ada.actor.id, "Bob")).id
    await policy.moderation.unblock(ada.actor.id, here)
    await policy.moderation.freeze(bob, ada.actor.id, EVERYWHERE, FreezeKind.FROZEN, by=None)
    await refused(Reason.VOICE_FROZEN)
    await policy.moderation.lift(bob, EVERYWHERE)
    role = server.guild.create_role("choir")
    await policy.settings.change(here, lambda old: replace(old, speak_roles=frozenset({role.id})))
    assert f"<@&{role.id}>" in (await again(ada, message)).told
    await policy.settings.change(here, lambda old: replace(old, speak_roles=frozenset()))
    assert (await again(ada, message)).posted

    await ada.presses((await ada.types("voice delete", voice="Bob")).private, "Delete")
    await refused(Reason.VOICE_DELETED)


async def test_it_counts_in_the_limits(server: Server, ada: Member) -> None:
    message = await says(ada)
    await server.restarts(requests_per_minute=2)
    message = (await again(ada, message)).posted[0]
    refused = await again(ada, message)
    assert not refused.posted
    assert "a minute" in refused.told
    assert labels(server.channel.history()[-1]) == [AGAIN], "the button stays for later"


async def test_pressed_twice_at_once_it_is_said_once(
    server: Server, ada: Member, backend: ScriptedBackend
) -> None:
    message = await says(ada)
    release = asyncio.Event()

    async def wait(_request: SpeechRequest) -> None:
        await release.wait()

    backend.on_speak = wait
    for _ in range(2):
        with server.impatient():
            await again(ada, message)
    told = [each.content for each in server.channel.history(viewer=ada.actor)]
    assert sentence(server, Reason.SAYING_IT_AGAIN) in told
    release.set()
    await server.env.settle()
    assert len(server.channel.history()) == 2
    backend.on_speak = None
    assert (await again(ada, message)).posted, "later it works again"


async def test_it_works_in_direct_messages(ada: Member) -> None:
    person = ada.actor.user
    said = await person.slash("say", text=TEXT)
    [first] = [each.message for each in said.followups]
    pressed = await person.click(first, label=AGAIN)
    [second] = [each.message for each in pressed.followups]
    assert second.content == first.content


async def test_a_message_without_its_text_says_so(server: Server, ada: Member) -> None:
    """Nobody but the bot can edit its messages. But a later version may word them differently."""
    message = await says(ada)
    stored: Any = server.env.backend.get_message(message.channel.id, message.id)
    stored.content = "Something else."
    assert (await again(ada, message)).told == sentence(server, Reason.NOTHING_TO_SAY_AGAIN)
