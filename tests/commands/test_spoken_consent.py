"""A server that asks for consent which is read aloud."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from backend.contract import LANGUAGES, Heard
from bot.voices.consent import Permission
from tests.support.consent import sentence_in

if TYPE_CHECKING:
    from tests.support.discord_server import Answer, Member, Server
    from tests.support.scripted_backend import ScriptedBackend


@pytest.fixture(autouse=True)
async def _asks_aloud(server: Server) -> None:
    await decides(server, asks=True)


async def decides(server: Server, *, asks: bool) -> None:
    await server.bot.policy.settings.change(
        server.env.guild.id, lambda before: replace(before, spoken_consent=asks)
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


async def test_an_engine_that_hears_no_words_says_so(
    ada: Member, backend: ScriptedBackend, recording: bytes
) -> None:
    await ada.clones(recording)
    backend.heard = None
    refused = await ada.clones(recording)
    assert "the voice engine here can't hear words" in refused.told


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


async def test_who_chooses_a_language_reads_that(
    ada: Member, backend: ScriptedBackend, recording: bytes
) -> None:
    backend.languages = LANGUAGES
    asked = await ada.clones(recording, language="German")
    assert sentence_in(asked.told).startswith("Ich erlaube diesem Bot")
