"""The message menu "Clone this voice", as those who use it meet it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from backend.contract import Heard
from bot.errors import Reason
from bot.guilds.records import EVERYWHERE
from bot.interface.wording.first_words import FIRST_WORDS
from bot.interface.wording.sentences import REFUSALS, link_commands
from bot.voices.consent import STATEMENTS, Permission
from bot.voices.tables import ConsentRow
from tests.support.public_words import UNNAMED, beside_file

if TYPE_CHECKING:
    import discord

    from tests.support.discord_server import Answer, Member, Server
    from tests.support.scripted_backend import ScriptedBackend

MENU = "Clone this voice"
WHOSE, WHICH = "Whose voice is it?", "Which recording?"
NAME, TEXT, TRANSCRIPT = "Name", "What should it say?", "What's said in the recording?"


async def sends(member: Member, *files: tuple[str, bytes]) -> discord.Message:
    return await member.actor.send(member.server.channel, "Listen!", attachments=files)


async def clones(
    member: Member,
    message: discord.Message,
    permission: Permission = Permission.GIVEN,
    **fields: str,
) -> Answer:
    """Choose the menu, and fill its form: `name`, `text`, `transcript`, `which`."""
    form = await member.uses_menu(MENU, message)
    labels = {"name": NAME, "text": TEXT, "transcript": TRANSCRIPT, "which": WHICH}
    answers = {labels[field]: value for field, value in fields.items()}
    return await member.submits(form, {WHOSE: permission, **answers})


def sentence(server: Server, reason: Reason) -> str:
    return link_commands(REFUSALS[reason], server.bot.command_ids)


async def test_it_asks_what_clone_has_options_for(ada: Member, recording: bytes) -> None:
    message = await sends(ada, ("voice.wav", recording))
    form = await ada.uses_menu(MENU, message)
    fields = form.fields_of_form()
    required = {label: field.get("required", True) for label, field in fields.items()}
    assert required == {WHOSE: True, NAME: False, TEXT: False, TRANSCRIPT: False}
    assert [each["label"] for each in fields[WHOSE]["options"]] == [
        "This is my own voice",
        "I have the speaker's permission",
    ]
    assert not any(each.get("default") for each in fields[WHOSE]["options"])
    assert form.result.modal is not None
    descriptions = [each.get("description", "") for each in form.result.modal["components"]]
    assert any("promise not to deceive or harm" in each for each in descriptions)


@pytest.mark.parametrize("permission", Permission)
async def test_it_makes_the_voice_as_clone_does(
    server: Server,
    ada: Member,
    grace: Member,
    backend: ScriptedBackend,
    recording: bytes,
    permission: Permission,
) -> None:
    message = await sends(grace, ("voice.wav", recording))
    answer = await clones(
        ada, message, permission, name=" Bob ", text="Good **morning**.", transcript="Over there."
    )
    [posted] = answer.posted
    assert posted.content.startswith(beside_file("Bob", r"Good \*\*morning\*\*.", ada))
    statement = STATEMENTS[permission.statement_version]
    whose = "Your" if permission is Permission.OWN else "The"
    assert answer.told.startswith(f"{whose} voice is saved as **Bob**.")
    assert f"You confirmed: “{statement}”" in answer.told
    saved = await server.bot.library.find(ada.actor.id, "Bob")
    assert saved.consent.attested_by == ada.actor.id, "not who sent the recording"
    assert saved.transcript == "Over there."
    assert backend.spoken == ["Good morning."]
    hers = ConsentRow.user_id == ada.actor.id
    async with server.bot.library._database.read() as session:
        [guild_id] = await session.scalars(select(ConsentRow.guild_id).where(hers))
    assert guild_id == server.guild.id


async def test_without_more_it_only_tries_the_voice(
    server: Server, ada: Member, recording: bytes
) -> None:
    answer = await clones(ada, await sends(ada, ("voice.wav", recording)))
    [posted] = answer.posted
    assert posted.content.startswith(beside_file(UNNAMED, FIRST_WORDS["English"], ada))
    assert not (await server.bot.library.page(ada.actor.id)).total


async def test_of_several_recordings_one_is_chosen(ada: Member, recording: bytes) -> None:
    message = await sends(
        ada, ("a.png", b"\x89PNG"), ("broken.mp3", b"not a recording"), ("good.wav", recording)
    )
    form = await ada.uses_menu(MENU, message)
    options = form.fields_of_form()[WHICH]["options"]
    assert [each["label"] for each in options] == ["1. broken.mp3", "2. good.wav"]
    assert (await clones(ada, message, which="2")).posted
    broken = await clones(ada, message, which="1")
    assert not broken.posted
    assert broken.told


async def test_a_forwarded_recording_is_one(server: Server, ada: Member, recording: bytes) -> None:
    message = await sends(ada, ("voice.wav", recording))
    forwarded = await ada.actor.forward(message, server.channel)
    assert (await clones(ada, forwarded)).posted


async def test_a_native_voice_message_is_a_recording(
    server: Server, ada: Member, recording: bytes
) -> None:
    """Discord's clients send them as Ogg/Opus; the flag is what tells them, whatever their name."""
    message = await sends(ada, ("voice-message.bin", recording))
    stored: Any = server.env.backend.messages[message.channel.id][message.id]
    stored.flags |= 8192
    stored.attachments[0] |= {"duration_secs": 6.0, "waveform": "AAAA", "content_type": None}
    assert (await clones(ada, message)).posted


async def test_without_a_recording_it_says_so(server: Server, ada: Member, grace: Member) -> None:
    for message in (await sends(grace), await sends(grace, ("a.png", b"\x89PNG"))):
        answer = await ada.uses_menu(MENU, message)
        assert answer.told == sentence(server, Reason.MESSAGE_WITHOUT_RECORDING)


async def test_speech_of_the_bot_is_not_cloned(server: Server, ada: Member, grace: Member) -> None:
    await ada.saves_voice(name="Bob")
    [speech] = (await ada.types("say", text="Hello.")).posted
    answer = await grace.uses_menu(MENU, speech)
    assert answer.told == sentence(server, Reason.MESSAGE_IS_SPEECH)


async def test_who_may_not_clone_is_told_before_and_after_the_form(
    server: Server, ada: Member, recording: bytes
) -> None:
    message = await sends(ada, ("voice.wav", recording))
    form = await ada.uses_menu(MENU, message)
    await server.bot.policy.moderation.block(ada.actor.id, EVERYWHERE, by=None)
    refused = await ada.submits(form, {WHOSE: Permission.OWN})
    assert refused.told == sentence(server, Reason.BLOCKED_EVERYWHERE)
    again = await ada.uses_menu(MENU, message)
    assert again.told == sentence(server, Reason.BLOCKED_EVERYWHERE)
    assert again.result.modal is None


async def test_a_recording_that_is_gone_meanwhile_is_not_the_persons_fault(
    server: Server, ada: Member, recording: bytes
) -> None:
    message = await sends(ada, ("voice.wav", recording))
    with server.attachments_expire():
        answer = await clones(ada, message)
    assert answer.told == sentence(server, Reason.UPLOAD_NOT_FETCHED)


async def test_it_counts_in_the_limits(server: Server, ada: Member, recording: bytes) -> None:
    message = await sends(ada, ("voice.wav", recording))
    await server.restarts(requests_per_minute=1)
    assert (await clones(ada, message)).posted
    assert "a minute" in (await clones(ada, message)).told


async def test_consent_that_is_read_aloud_is_asked_for_as_in_clone(
    server: Server, ada: Member, backend: ScriptedBackend, recording: bytes
) -> None:
    settings = server.bot.policy.settings
    await settings.change(server.guild.id, lambda old: replace(old, spoken_consent=True))
    message = await sends(ada, ("voice.wav", recording))
    asked = await clones(ada, message, name="Bob")
    assert not asked.posted
    current = server.bot.spoken_consents.current(ada.actor.id, server.guild.id)
    assert current is not None
    assert asked.told.endswith(
        f"choose Apps, Clone this voice, in the menu of that message:\n> {current.text}"
    )
    backend.heard = Heard(current.text, "English")
    assert (await clones(ada, message, name="Bob")).posted


async def test_the_name_of_a_voice_asks_whether_to_replace_its_recording(
    server: Server, ada: Member, backend: ScriptedBackend, recording: bytes
) -> None:
    await ada.saves_voice(name="Bob")
    message = await sends(ada, ("voice.wav", recording))
    asked = await clones(ada, message, name="Bob")
    assert asked.told.startswith("You already have **Bob**. Replace its recording with this one?")
    assert backend.clips == []
    await ada.presses(asked.private, "Replace")
    assert asked.told.startswith("**Bob** has the new recording.")
    saved = await server.bot.library.find(ada.actor.id, "Bob")
    assert saved.consent == backend.consents[-1]
