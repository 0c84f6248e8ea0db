"""`/clone` with the name of a voice that a person has: a question, and then its new recording."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
import soundfile
from sqlalchemy import func, select

from backend.contract import Heard
from bot.guilds.records import AuditAction, FreezeKind
from bot.guilds.tables import WorkRow
from bot.interface.audit_log.lines import audit_line
from bot.voices.consent import Permission
from tests.support.consent import sentence_in
from tests.support.public_words import text_beside
from tests.support.report_scene import open_scene, shown

if TYPE_CHECKING:
    from pathlib import Path

    from backend.contract import ReferenceClip
    from bot.voices.records import SavedVoice
    from tests.support.discord_server import Member, Server
    from tests.support.scripted_backend import ScriptedBackend

QUESTION = "You already have **Bob**. Replace its recording with this one?"


@pytest_asyncio.fixture(loop_scope="module")
async def bob(server: Server, ada: Member) -> SavedVoice:
    """Ada's voice, which has a speed, is shared with everyone, and was used."""
    await ada.saves_voice(name="Bob")
    await ada.types("voice speed", voice="Bob", speed=0.5)
    await ada.shares_with_everyone("Bob")
    await ada.types("say", text="Hello.", voice="Bob")
    await server.bot.library.written()
    return await server.bot.library.find(ada.actor.id, "Bob")


async def running(server: Server) -> int:
    """How much work counts against limits now."""
    async with server.bot.library._database.read() as session:
        return await session.scalar(select(func.count()).select_from(WorkRow)) or 0


async def test_replace_keeps_the_voice_and_changes_its_recording(
    server: Server,
    ada: Member,
    grace: Member,
    backend: ScriptedBackend,
    recording: bytes,
    bob: SavedVoice,
) -> None:
    asked = await ada.clones(recording, name="bob ", permission=Permission.GIVEN)
    assert asked.told.startswith(QUESTION)
    assert "deleted for good, with its transcript." in asked.told
    assert backend.clips == [], "the question comes first"
    assert not await running(server), "limits begin after the answer"

    done = await ada.presses(asked.private, "Replace")
    [message] = done.posted + asked.posted
    again = await ada.types("say", text=text_beside(message.content), voice="Bob")
    sample, said = [
        soundfile.info(io.BytesIO(await each.attachments[0].read())).duration
        for each in (message, *again.posted)
    ]
    assert sample == pytest.approx(said, rel=0.05), "at the voice's own speed"
    assert asked.told.startswith("**Bob** has the new recording. Use it any time with `/say`. ")
    assert "I have the speaker's permission" in asked.told

    library = server.bot.library
    new = await library.find(ada.actor.id, "Bob")
    same = ("id", "name", "speed", "created_at")
    assert [getattr(new, each) for each in same] == [getattr(bob, each) for each in same]
    assert new.consent == backend.consents[-1]
    assert new.consent.statement_version == Permission.GIVEN.statement_version
    assert new.transcript is None
    assert 0 < new.clip_seconds < bob.clip_seconds
    prompt = await library.prompt(new, "scripted/1")
    assert prompt is not None
    assert prompt.data == b"400", "the old one was 300"
    assert (await grace.types("say", text="Hello.", voice="Bob")).posted, "it is still shared"

    await server.bot.policy.audit.written()
    log = await server.bot.policy.audit.page(server.guild.id)
    [line] = [audit_line(each) for each in log.entries if each.action is AuditAction.REPLACED]
    assert line.endswith(f"gave voice #{bob.id} another recording (with permission)")


async def test_keep_or_no_answer_changes_nothing(
    server: Server, ada: Member, backend: ScriptedBackend, recording: bytes, bob: SavedVoice
) -> None:
    kept = "Kept. **Bob** still has its recording."
    asked = await ada.clones(recording, name="Bob")
    await ada.presses(asked.private, "Keep")
    assert asked.told.startswith(kept)
    asked = await ada.clones(recording, name="Bob")
    await server.env.advance_time(301)
    assert asked.told.startswith(kept)
    assert backend.clips == []
    assert await server.bot.library.find(ada.actor.id, "Bob") == bob


@pytest.mark.usefixtures("bob")
async def test_a_voice_that_goes_or_changes_meanwhile_is_left_alone(
    server: Server, ada: Member, backend: ScriptedBackend, recording: bytes
) -> None:
    library = server.bot.library
    first = await ada.clones(recording, name="Bob")
    second = await ada.clones(recording, name="Bob")
    await ada.presses(first.private, "Replace")
    await ada.presses(second.private, "Replace")
    assert second.told.startswith("That voice got another recording meanwhile, so I stopped.")
    assert second.posted == []

    async def delete(_clip: ReferenceClip) -> None:
        await library.delete(await library.find(ada.actor.id, "Bob"))

    asked = await ada.clones(recording, name="Bob")
    backend.on_prepare = delete
    await ada.presses(asked.private, "Replace")
    assert asked.told.startswith("You have no voice with that name.")
    assert (await library.page(ada.actor.id)).total == 0


async def test_a_name_that_is_taken_meanwhile_is_a_sentence(
    server: Server, ada: Member, backend: ScriptedBackend, recording: bytes
) -> None:
    async def save(_clip: ReferenceClip) -> None:
        await ada.saves_voice(name="Bob")

    backend.on_prepare = save
    answer = await ada.clones(recording, name="BOB")
    assert answer.told.startswith("You already have a voice with that name.")
    assert (await server.bot.library.find(ada.actor.id, "Bob")).clip_seconds == 12.0


@pytest.mark.usefixtures("bob")
async def test_a_question_that_a_restart_interrupts_changes_nothing(
    server: Server, ada: Member, backend: ScriptedBackend, recording: bytes
) -> None:
    asked = await ada.clones(recording, name="Bob")
    await server.restarts()
    assert asked.told.startswith("I have to restart now.")
    assert asked.private is not None
    assert asked.private.components == []
    assert backend.clips == []


@pytest.mark.parametrize("kind", FreezeKind)
async def test_a_voice_that_was_decided_about_keeps_its_recording(
    server: Server, ada: Member, recording: bytes, bob: SavedVoice, kind: FreezeKind
) -> None:
    moderation = server.bot.policy.moderation
    stays = "You already have **Bob**, and it was frozen or removed somewhere"
    asked = await ada.clones(recording, name="Bob")
    elsewhere = server.guild.id + 1
    await moderation.freeze(bob.id, bob.owner_id, elsewhere, kind, by=None)
    await ada.presses(asked.private, "Replace")
    assert asked.told.startswith(stays)
    assert (await ada.clones(recording, name="Bob")).told.startswith(stays), "at once"
    assert await server.bot.library.find(ada.actor.id, "Bob") == bob


@pytest.mark.usefixtures("bob")
async def test_spoken_consent_asks_for_the_sentence_first(
    server: Server, ada: Member, backend: ScriptedBackend, recording: bytes
) -> None:
    await server.bot.policy.settings.change(
        server.guild.id, lambda before: replace(before, spoken_consent=True)
    )
    to_read = await ada.clones(recording, name="Bob")
    assert to_read.told.startswith("This server asks the speaker to say that they allow this. ")
    backend.heard = Heard(sentence_in(to_read.told), "English")
    asked = await ada.clones(recording, name="Bob")
    assert asked.told.startswith(QUESTION)
    await ada.presses(asked.private, "Replace")
    assert asked.told.startswith("**Bob** has the new recording.")
    saved = await server.bot.library.find(ada.actor.id, "Bob")
    assert saved.consent.statement_version == Permission.OWN.spoken_version


async def test_a_report_shows_that_the_recording_was_replaced_since(
    tmp_path: Path, recording: bytes
) -> None:
    async with open_scene(tmp_path) as scene:
        early, late = await scene.speech(), await scene.speech()
        await scene.reported(early)
        asked = await scene.ada.clones(recording, name="Bob")
        await scene.ada.presses(asked.private, "Replace")
        assert asked.told.startswith("**Bob** has the new recording."), "a report alone is no bar"
        since = "Its owner has given it another recording since that speech."
        assert since in shown(scene.notice)["Voice"]
        assert "“This is my own voice." in shown(scene.notice)["The owner's consent"]

        await scene.reported(late)
        assert since in shown(scene.notice)["Voice"]
        assert shown(scene.notice)["The owner's consent"] == "There's no record of it any more."
