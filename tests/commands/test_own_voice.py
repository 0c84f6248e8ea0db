"""The buttons below what an owner sees of a voice: hear its recording, correct its transcript."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from backend.contract import Heard
from bot.errors import Reason
from bot.interface.own_voice import HearButton, own_voice_view
from bot.interface.transcripts import TranscriptButton
from bot.interface.wording.sentences import REFUSALS

if TYPE_CHECKING:
    from tests.support.discord_server import Answer, Member, Server
    from tests.support.scripted_backend import ScriptedBackend

HEAR = "Hear the recording"
CORRECT = "Correct the transcript"


def labels(answer: Answer) -> list[str]:
    rows = [] if answer.private is None else answer.private.components
    return [each["label"] for row in rows for each in row["components"]]


async def test_the_owner_hears_the_recording_that_is_kept(
    server: Server, ada: Member, backend: ScriptedBackend, recording: bytes
) -> None:
    await ada.clones(recording, name="Ada")
    info = await ada.types("voice info", voice="Ada")
    await server.restarts()
    heard = await ada.presses(info.private, HEAR)

    assert heard.told == "That's the recording I keep of **Ada**. Only you can hear it."
    assert heard.private is not None
    assert heard.private.ephemeral
    assert heard.posted == [], "nobody else sees it"
    [message] = heard.private_followups
    [file] = message.attachments
    assert file.filename == "recording.ogg"
    samples, rate = soundfile.read(io.BytesIO(await file.read()), dtype="float32")
    kept = np.frombuffer(backend.clips[0].pcm, "<i2") / 32_768
    assert len(samples) / rate == pytest.approx(len(kept) / 24_000, abs=0.1)
    assert np.sqrt(np.mean(samples**2)) == pytest.approx(np.sqrt(np.mean(kept**2)), rel=0.2)


async def test_those_whom_a_voice_is_shared_with_never_hear_its_recording(
    server: Server, ada: Member, grace: Member, recording: bytes
) -> None:
    await ada.clones(recording, name="Ada")
    await ada.shares_with_everyone("Ada")
    shared = await grace.types("voice info", voice="Ada")
    assert shared.private is not None
    assert shared.private.components == []

    saved = await server.bot.library.find(ada.actor.id, "Ada")
    view = own_voice_view(saved)  # as if somebody forged a press
    shown = await server.bot.get_channel(server.channel.id).send("…", view=view)  # type: ignore[union-attr]
    for label in (HEAR, "Add the transcript"):
        refused = await grace.presses(shown, label)
        assert refused.told.startswith("That voice isn't among yours any more.")
        assert refused.private_followups == []
        assert refused.result.modal is None


async def test_a_deleted_or_damaged_recording_is_a_sentence(server: Server, ada: Member) -> None:
    await ada.saves_voice()
    info = await ada.types("voice info", voice="ada")
    damaged = await ada.presses(info.private, HEAR)
    assert damaged.told.startswith(
        "The saved recording of that voice is damaged. That's not your fault."
    )

    await server.bot.library.delete(await server.bot.library.find(ada.actor.id, "ada"))
    for label in (HEAR, CORRECT):
        gone = await ada.presses(info.private, label)
        assert gone.told.startswith("That voice isn't among yours any more.")


async def test_a_recording_that_discord_does_not_take_is_not_the_persons_fault(
    server: Server, ada: Member, recording: bytes
) -> None:
    await ada.clones(recording, name="Ada")
    info = await ada.types("voice info", voice="Ada")
    server.breaks("POST", "/webhooks/*", status=500, times=10)
    refused = await ada.presses(info.private, HEAR)
    assert refused.told == REFUSALS[Reason.RECORDING_NOT_SENT]


async def test_what_was_heard_is_corrected_by_the_button_below(
    server: Server, ada: Member, backend: ScriptedBackend, recording: bytes
) -> None:
    backend.heard = Heard("The perch canoe slid.", "English")
    cloned = await ada.clones(recording, name="Ada")
    assert labels(cloned) == [CORRECT]
    await server.restarts()
    form = await ada.presses(cloned.private, CORRECT)
    assert form.field_of_form("Transcript") == "The perch canoe slid."

    backend.heard = Heard("The perch canoe slid.", "English", differs=True)
    doubted = await ada.submits(form, {"Transcript": "The birch canoe slid."})
    assert doubted.told.endswith("If I'm right, please press “Correct the transcript”.")
    assert (
        await server.bot.library.find(ada.actor.id, "Ada")
    ).transcript == "The birch canoe slid."
    again = await ada.presses(doubted.private, CORRECT)
    assert again.field_of_form("Transcript") == "The birch canoe slid."


async def test_a_voice_that_is_not_kept_or_was_heard_right_has_no_button(
    ada: Member, backend: ScriptedBackend, recording: bytes
) -> None:
    backend.heard = Heard("The birch canoe slid.", "English")
    assert labels(await ada.clones(recording)) == []
    assert labels(await ada.clones(recording, name="A", transcript=backend.heard.text)) == []


async def test_who_may_not_clone_is_told_before_writing(
    server: Server, ada: Member, backend: ScriptedBackend, recording: bytes
) -> None:
    backend.heard = Heard("The birch canoe slid.", "English")
    cloned = await ada.clones(recording, name="Ada")
    await server.bot.policy.settings.change(
        server.guild.id, lambda decided: replace(decided, clone_roles=frozenset({1}))
    )
    refused = await ada.presses(cloned.private, CORRECT)
    assert refused.result.modal is None
    assert refused.told.startswith("In this server, only members with the role")


def test_ids_are_as_long_as_the_database_can_make_them() -> None:
    for button in (HearButton(10**18 - 1), TranscriptButton(10**18 - 1)):
        assert button.template.fullmatch(button.custom_id)
