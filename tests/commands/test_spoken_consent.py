"""A server that asks for consent which is read aloud."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from backend.contract import LANGUAGES, Heard
from bot.guilds.access import Actor
from bot.voices.consent import Permission
from tests.commands.test_default_voices import opens, shown
from tests.commands.test_sharing import shares
from tests.support.consent import sentence_in
from tests.support.marking_backend import MarkingScriptedBackend

if TYPE_CHECKING:
    from backend.contract import ReferenceClip
    from tests.support.discord_server import Answer, Member, Server
    from tests.support.scripted_backend import ScriptedBackend


@pytest.fixture(scope="module")
def engine() -> MarkingScriptedBackend:
    return MarkingScriptedBackend()


@pytest.fixture
def backend(backend: MarkingScriptedBackend) -> MarkingScriptedBackend:
    """An engine that finds no mark in people's recordings."""
    backend.finds = False
    return backend


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def _asks_aloud(server: Server) -> None:
    await decides(server, asks=True)


async def decides(server: Server, *, asks: bool) -> None:
    await server.bot.policy.settings.change(
        server.guild.id, lambda before: replace(before, spoken_consent=asks)
    )


async def reads_aloud(
    ada: Member, backend: ScriptedBackend, recording: bytes, **options: str
) -> Answer:
    """Ask what to read, and send a recording of that."""
    asked = await ada.clones(recording)
    backend.heard = Heard(sentence_in(asked.told), "English")
    return await ada.clones(recording, **options)


async def test_the_first_clone_says_what_to_read_and_the_second_makes_the_voice(
    server: Server, ada: Member, backend: ScriptedBackend, recording: bytes
) -> None:
    asked = await ada.clones(recording, name="Mine")
    assert asked.told.startswith("This server asks the speaker to say that they allow this. ")
    assert backend.clips == [], "nothing is made yet"
    sentence = sentence_in(asked.told)

    backend.heard = Heard(sentence.lower(), "English")
    done = await ada.clones(recording, name="Mine", permission=Permission.GIVEN)
    assert len(await done.files()) == 1
    [clip] = backend.clips
    assert clip.transcript == sentence, "it is what the recording says"
    saved = await server.bot.library.find(ada.actor.id, "Mine")
    assert saved.consent.statement_version == Permission.GIVEN.spoken_version
    assert "The speaker says in the recording" in done.told


async def test_a_recording_of_something_else_makes_no_voice(
    server: Server, ada: Member, backend: ScriptedBackend, recording: bytes
) -> None:
    sentence = sentence_in((await ada.clones(recording)).told)
    for heard in ("", "I like apples and I like the summer.", sentence[: len(sentence) // 2]):
        backend.heard = Heard(heard, "English")
        refused = await ada.clones(recording, name="Mine")
        assert refused.told.startswith("I can't hear all of this in that recording:")
        assert sentence_in(refused.told) == sentence, "it stays the same"
        assert refused.posted == []
    assert (await server.bot.library.page(ada.actor.id)).total == 0


async def test_a_sentence_is_good_for_one_voice_and_one_person(
    ada: Member, grace: Member, backend: ScriptedBackend, recording: bytes
) -> None:
    await reads_aloud(ada, backend, recording)
    assert "reading this aloud" in (await ada.clones(recording)).told
    assert "reading this aloud" in (await grace.clones(recording)).told


async def test_the_sentence_beside_another_voice_makes_no_voice(
    ada: Member, backend: ScriptedBackend, recording: bytes
) -> None:
    sentence = sentence_in((await ada.clones(recording)).told)
    backend.heard = Heard(f"{'My fellow citizens, ask not. ' * 3}{sentence}", "English")
    refused = await ada.clones(recording, name="Mine")
    assert refused.told.startswith("There's more to hear in that recording than this:")
    assert refused.posted == []
    backend.heard = Heard(sentence, "English")
    assert (await ada.clones(recording, name="Mine")).posted, "the sentence stays good"


async def test_two_recordings_at_once_make_one_voice(
    server: Server, ada: Member, backend: ScriptedBackend, recording: bytes
) -> None:
    backend.heard = Heard(sentence_in((await ada.clones(recording)).told), "English")
    both_read, begun = asyncio.Event(), 0

    async def wait(_clip: ReferenceClip) -> None:
        nonlocal begun
        begun += 1
        if begun == 2:
            both_read.set()
        await both_read.wait()

    backend.on_prepare = wait
    for name in ("One", "Two"):
        with server.impatient():
            await ada.clones(recording, name=name)
    await server.env.settle()
    assert begun == 2
    assert (await server.bot.library.page(ada.actor.id)).total == 1
    told = [each.content for each in server.channel.history(viewer=ada.actor)]
    assert any("each is good for one" in words for words in told)


async def test_a_voice_of_the_bot_cannot_give_consent(
    ada: Member, backend: MarkingScriptedBackend, recording: bytes
) -> None:
    """Somebody could make the voice where nothing is asked, and have it say the sentence."""
    backend.finds = True
    refused = await reads_aloud(ada, backend, recording, name="Mine")
    assert refused.told.startswith("That recording carries the mark of speech that I make")
    assert refused.posted == []
    backend.finds = False
    assert (await ada.clones(recording, name="Mine")).posted, "the sentence stays good"
    assert len(backend.searched) == 2


async def test_an_engine_that_hears_no_words_says_so(
    server: Server, ada: Member, manager: Member, backend: ScriptedBackend, recording: bytes
) -> None:
    await ada.clones(recording)
    backend.heard = None
    refused = await ada.clones(recording)
    assert "the voice engine here can't hear words" in refused.told

    backend.hears, made = False, len(backend.clips)
    refused = await server.member("eve").clones(recording)
    assert "the voice engine here can't hear words" in refused.told, "she has nothing to read"
    assert len(backend.clips) == made
    await decides(server, asks=False)
    page = await manager.types("settings")
    assert page.private is not None
    await manager.actor.select(page.private, ["spoken_consent"], custom_id="settings:show:")
    await manager.presses(page.private, "Turn on")
    assert page.told.startswith("The voice engine here can't hear words")
    settings = await server.bot.policy.settings.of(server.guild.id)
    assert not settings.spoken_consent


async def test_voices_that_were_made_without_it_are_refused_here(
    server: Server, ada: Member, backend: ScriptedBackend, recording: bytes
) -> None:
    await decides(server, asks=False)
    await ada.clones(recording, name="Before")
    await decides(server, asks=True)
    refused = await ada.types("say", text="Hello.")
    assert refused.told.startswith("This server only takes voices whose speaker read a sentence")
    assert "**Before**" in refused.told

    await reads_aloud(ada, backend, recording, name="Read")
    assert (await ada.types("say", text="Hello.", voice="Read")).posted
    assert not (await ada.types("say", text="Hello.", voice="Before")).posted


async def test_those_who_borrow_such_a_voice_are_told_what_they_can_do(
    server: Server, ada: Member, grace: Member, manager: Member
) -> None:
    here = server.guild.id
    before = await ada.saves_voice(name="Before")
    refused = await shares(ada, "Before", who=grace.actor)
    assert refused.startswith("This server only takes voices whose speaker read a sentence aloud.")
    await decides(server, asks=False)
    await shares(ada, "Before")
    await decides(server, asks=True)
    await server.bot.policy.settings.change(
        here, lambda old: replace(old, default_voice_id=before.id)
    )
    for voice in ({}, {"voice": "Before"}):
        told = (await grace.types("say", text="Hello.", **voice)).told
        assert "and **Before** was made without. Its owner can make it again here" in told
    assert (await grace.types("voice list")).told.endswith("**can't be used now**")
    assert await server.bot.voice_access.suggest(Actor(grace.actor.id, here), "") == ([], [])
    chosen = str(shown(await opens(manager)))
    assert chosen.startswith(f"⚠️ **Before** by <@{ada.actor.id}> can't be used now")

    await decides(server, asks=False)
    assert (await grace.types("say", text="Hello.")).posted
    assert str(shown(await opens(manager))) == f"**Before** by <@{ada.actor.id}>"


async def test_who_would_lose_it_by_a_new_recording_is_told(
    server: Server, ada: Member, backend: ScriptedBackend, recording: bytes
) -> None:
    await reads_aloud(ada, backend, recording, name="Read")
    lost = "Servers that ask for consent read aloud won't take the voice any more."
    await decides(server, asks=False)
    asked = await ada.clones(recording, name="Read")
    assert lost in asked.told
    await ada.presses(asked.private, "Keep")
    await decides(server, asks=True)
    assert lost not in (await reads_aloud(ada, backend, recording, name="Read")).told


async def test_who_chooses_a_language_reads_that(
    ada: Member, backend: ScriptedBackend, recording: bytes
) -> None:
    backend.languages = LANGUAGES
    asked = await ada.clones(recording, language="German")
    assert sentence_in(asked.told).startswith("Ich erlaube diesem Bot")
