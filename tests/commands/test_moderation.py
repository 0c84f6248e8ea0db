"""`/moderation` as a server's managers use it, and what the people it is about are told."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import discord
import pytest
from sqlalchemy import make_url, update

from backend.contract import SpeechError
from bot.errors import Reason
from bot.guilds.access import OperatorRules
from bot.guilds.records import EVERYWHERE, AuditAction, FreezeKind
from bot.guilds.tables import AuditRow
from bot.interface.wording.sentences import REFUSALS
from tests.support.discord_server import Member, Server

if TYPE_CHECKING:
    from backend.contract import SpeechRequest
    from tests.support.discord_server import Answer
    from tests.support.scripted_backend import ScriptedBackend

BLOCKED = REFUSALS[Reason.BLOCKED_HERE]
REMOVED = REFUSALS[Reason.VOICE_REMOVED_HERE]


def manager(server: Server, name: str = "admin") -> Member:
    guild = server.guild
    role = guild.create_role(name, permissions=discord.Permissions(manage_guild=True))
    return Member(server, guild.add_member(server.env.create_user(name), roles=[role]))


@pytest.fixture
def admin(server: Server) -> Member:
    return manager(server)


async def says(member: Member, text: str = "Hello.") -> Answer:
    answer = await member.types("say", text=text)
    await member.server.bot.policy.audit.written()
    return answer


async def moderates(admin: Member, command: str, **options: object) -> str:
    told = (await admin.types(f"moderation {command}", **options)).told
    await admin.server.bot.policy.audit.written()
    return told


async def choices(admin: Member, command: str, typed: str = "") -> dict[str, str]:
    channel = admin.server.channel
    offered = await admin.actor.autocomplete(channel, f"moderation {command}", "voice", typed)
    return {choice["name"]: choice["value"] for choice in offered}


def on_disk(server: Server) -> bytes:
    """The bot's database, with its log."""
    database = make_url(server.bot.settings.database_url).database
    assert database is not None
    files = list(Path(database).parent.glob("timbre.db*"))
    assert files
    return b"".join(file.read_bytes() for file in files)


async def test_a_blocked_member_cannot_speak_until_unblocked(
    ada: Member, grace: Member, admin: Member
) -> None:
    await ada.saves_voice()
    await grace.saves_voice()
    told = await moderates(admin, "block", member=grace.actor)
    assert told.startswith(f"Blocked <@{grace.actor.id}>.")

    refused = await says(grace)
    assert refused.told == BLOCKED
    assert not refused.posted
    assert (await says(ada)).posted

    listed = await moderates(admin, "unblock")
    assert listed.startswith(f"<@{grace.actor.id}> · blocked by <@{admin.actor.id}> <t:")
    assert "blocked here already" in await moderates(admin, "block", member=grace.actor)
    assert "can use me here again" in await moderates(admin, "unblock", member=grace.actor)
    assert (await says(grace)).posted
    assert await moderates(admin, "unblock") == "Nobody is blocked here."
    assert "isn't blocked here" in await moderates(admin, "unblock", member=grace.actor)


async def test_a_server_cannot_unblock_whom_an_operator_blocks(
    server: Server, grace: Member, admin: Member
) -> None:
    moderation = server.bot.policy.moderation
    await moderation.block(grace.actor.id, EVERYWHERE, by=None)
    await moderates(admin, "block", member=grace.actor)
    told = await moderates(admin, "unblock", member=grace.actor)
    assert told.endswith("Whoever runs this bot still does, though.")
    assert (await says(grace)).told == REFUSALS[Reason.BLOCKED_EVERYWHERE]


async def test_a_block_ends_what_is_being_made(
    grace: Member, admin: Member, backend: ScriptedBackend
) -> None:
    await grace.saves_voice()
    asked = asyncio.Event()

    async def never_ends(_request: SpeechRequest) -> None:
        asked.set()
        await asyncio.Event().wait()

    backend.on_speak = never_ends
    private = await grace.begins("say", text="Hello.")
    assert asked.is_set()
    await moderates(admin, "block", member=grace.actor)

    history = grace.server.channel.history(viewer=grace.actor)
    assert [message.content for message in history if message.id == private.id] == [BLOCKED]
    assert all(message.flags.ephemeral for message in history)


async def test_speech_that_waits_to_be_encoded_is_not_posted_for_who_was_blocked_meanwhile(
    server: Server, grace: Member, admin: Member
) -> None:
    await grace.saves_voice()
    encoders = server.bot.replies.encoders
    while not encoders.locked():
        await encoders.acquire()
    private = await grace.begins("say", text="Hello.")
    await server.bot.policy.moderation.block(grace.actor.id, server.guild.id, by=None)
    await server.bot.enforcement.enforce()
    encoders.release()
    await admin.types("moderation log")  # waits until the bot is done

    history = server.channel.history(viewer=grace.actor)
    assert [message.content for message in history if message.id == private.id] == [BLOCKED]
    assert all(message.flags.ephemeral for message in history)


async def test_nobody_blocks_themselves_or_their_equals(
    server: Server, admin: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = manager(server, "other")
    assert "block yourself" in await moderates(admin, "block", member=admin.actor)
    assert "Only the server's owner" in await moderates(admin, "block", member=other.actor)
    rules = OperatorRules(operators=frozenset({other.actor.id}))
    monkeypatch.setattr(server.bot.policy, "rules", rules)
    assert "Nobody can block them" in await moderates(admin, "block", member=other.actor)


async def test_a_removed_voice_is_silent_in_that_server_alone(
    server: Server, admin: Member
) -> None:
    elsewhere, user = server.env.create_guild("Elsewhere"), server.env.create_user("grace")
    there = Server(server.env, server.bot, None, elsewhere.create_text_channel("text"))
    grace = Member(server, server.guild.add_member(user))
    same = Member(there, elsewhere.add_member(user))
    bob = (await grace.saves_voice(name="*Bob*")).id
    assert await moderates(admin, "voices") == "No voice that still exists was used here yet."
    await says(grace)
    await says(grace)

    listed = await moderates(admin, "voices")
    assert listed.startswith(rf"#{bob} **\*Bob\*** of <@{grace.actor.id}> · used 2 times, last <t:")
    assert await choices(admin, "remove", "bo") == {f"#{bob} *Bob*": str(bob)}
    assert await choices(admin, "remove", "else") == {}
    assert (await moderates(admin, "remove", voice=str(bob))).startswith(
        rf"Removed #{bob} **\*Bob\***."
    )

    assert (await says(grace)).told == REMOVED
    assert (await says(same)).posted
    assert "**removed here**" in await moderates(admin, "voices", member=grace.actor)
    assert "removed here already" in await moderates(admin, "remove", voice=f"#{bob}")
    assert await choices(admin, "remove") == {}
    assert await choices(admin, "restore") == {f"#{bob} *Bob*": str(bob)}

    assert (await moderates(admin, "restore", voice=f"#{bob}")).endswith("can be used here again.")
    assert (await says(grace)).posted
    assert "isn't removed here" in await moderates(admin, "restore", voice=f"#{bob}")


@pytest.mark.parametrize("typed", ["{unused}", "#", "Bob", "-1", "1.0", "²", "9" * 30])
async def test_only_voices_that_were_used_here_can_be_removed(
    grace: Member, ada: Member, admin: Member, typed: str
) -> None:
    await grace.saves_voice(name="Bob")
    unused = await ada.saves_voice(name="Unused")
    await says(grace)
    told = await moderates(admin, "remove", voice=typed.format(unused=unused.id))
    assert told.startswith("No voice with that number was used here.")


async def test_a_server_cannot_restore_what_is_frozen_everywhere(
    server: Server, grace: Member, admin: Member
) -> None:
    voice = (await grace.saves_voice()).id
    await says(grace)
    await moderates(admin, "remove", voice=str(voice))
    await server.bot.policy.moderation.freeze(
        voice, grace.actor.id, EVERYWHERE, FreezeKind.FROZEN, by=None
    )
    assert (await says(grace)).told == REFUSALS[Reason.VOICE_FROZEN]
    told = await moderates(admin, "restore", voice=str(voice))
    assert "It stays frozen everywhere" in told
    assert (await says(grace)).told == REFUSALS[Reason.VOICE_FROZEN]


async def test_nobody_restores_their_own_voice_that_another_removed(
    server: Server, admin: Member
) -> None:
    other = manager(server, "other")
    voice = str((await other.saves_voice()).id)
    await says(other)
    await moderates(admin, "remove", voice=voice)
    told = await moderates(other, "restore", voice=voice)
    assert told.startswith("That's your own voice, and somebody else decided about it.")
    assert (await says(other)).told == REMOVED
    await moderates(admin, "restore", voice=voice)
    await moderates(other, "remove", voice=voice)
    assert "can be used here again" in await moderates(other, "restore", voice=voice)


async def test_speech_is_not_posted_if_its_voice_was_frozen_meanwhile(
    server: Server, grace: Member, backend: ScriptedBackend
) -> None:
    voice = await grace.saves_voice()
    here = server.guild.id

    async def freeze(_request: SpeechRequest) -> None:
        moderation = server.bot.policy.moderation
        await moderation.freeze(voice.id, grace.actor.id, here, FreezeKind.FROZEN, by=None)

    backend.on_speak = freeze
    answer = await says(grace)
    assert answer.told == REFUSALS[Reason.VOICE_FROZEN_HERE]
    assert not answer.posted


async def test_the_log_says_who_did_what_and_holds_no_texts(
    server: Server, ada: Member, grace: Member, admin: Member
) -> None:
    hers, another = await grace.saves_voice(), await ada.saves_voice()
    await says(grace, "The secret word is rhubarb.")
    await says(ada, "Nobody knows it.")
    await moderates(admin, "block", member=grace.actor)

    blocked, second, first = (await moderates(admin, "log")).split("\n")
    assert blocked.endswith(f"> <@{admin.actor.id}> blocked <@{grace.actor.id}>")
    assert second.endswith(f"> <@{ada.actor.id}> posted speech with voice #{another.id}")
    assert first.endswith(f"> <@{grace.actor.id}> posted speech with voice #{hers.id}")
    assert await moderates(admin, "log", member=grace.actor) == f"{blocked}\n{first}"
    found = await moderates(admin, "log", text="the secret  word is Rhubarb.")
    assert found == first
    assert (await moderates(admin, "log", text="rhubarb")).startswith("Nothing like that")
    await server.bot.policy.audit.written()
    assert b"rhubarb" not in on_disk(server)


async def test_the_log_has_what_happened_and_not_what_was_tried(
    server: Server, ada: Member, admin: Member, backend: ScriptedBackend, recording: bytes
) -> None:
    """A voice is there, though its first speech failed; what Discord takes nowhere isn't."""

    async def fail(_request: SpeechRequest) -> None:
        raise SpeechError("it broke")

    backend.on_speak = fail
    assert not (await ada.clones(recording, name="Bob")).posted
    backend.on_speak = None
    bob = (await server.bot.library.find(ada.actor.id, "Bob")).id
    await server.forbids_bot(attach_files=False)
    server.breaks("POST", "/webhooks/*", status=403, times=5)
    server.breaks("POST", "/users/@me/channels", status=403)
    assert not (await says(ada)).posted
    [line] = (await moderates(admin, "log")).split("\n")
    assert line.endswith(f"> <@{ada.actor.id}> made voice #{bob} (own voice)")


async def test_the_log_has_pages(server: Server, ada: Member, admin: Member) -> None:
    await ada.saves_voice()
    for _ in range(11):
        server.bot.policy.audit.note(
            AuditAction.SPOKE_VOICE,
            actor_id=ada.actor.id,
            guild_id=server.guild.id,
        )
    await server.bot.policy.audit.written()
    first = await admin.types("moderation log")
    assert first.told.endswith("Page 1 of 2.")
    second = await admin.presses(first.private, "Next ▶")
    assert "spoke in a voice channel" in second.told


async def test_cloning_deleting_and_forgetting_are_in_the_log(
    server: Server, ada: Member, admin: Member, recording: bytes
) -> None:
    await ada.clones(recording, name="Bob")
    bob = (await server.bot.library.find(ada.actor.id, "Bob")).id
    question = await ada.types("voice delete", voice="Bob")
    await ada.presses(question.private, "Delete")
    await moderates(admin, "block", member=ada.actor)
    lines = (await moderates(admin, "log")).split("\n")
    assert lines[1].endswith(f"> <@{ada.actor.id}> deleted voice #{bob}")
    assert lines[2].endswith(f"> <@{ada.actor.id}> made voice #{bob} (own voice)")

    assert await server.bot.policy.posts.keeps_anything_about(ada.actor.id)
    question = await ada.types("forget")  # although blocked
    answer = await ada.presses(question.private, "Delete")
    assert "what I knew about how you used me" in answer.told
    assert not await server.bot.policy.keeps_anything_about(ada.actor.id)
    lines = (await moderates(admin, "log")).split("\n")
    assert lines[0].endswith("> Somebody had everything deleted that I kept about them")
    assert lines[1].endswith(f"> <@{admin.actor.id}> blocked <@{ada.actor.id}>")
    assert lines[2].endswith(f"Somebody who was forgotten deleted voice #{bob}")
    assert str(ada.actor.id) not in "".join(lines[2:])
    await ada.saves_voice()
    assert (await says(ada)).told == BLOCKED


async def test_old_lines_are_gone_after_a_start(server: Server, ada: Member, admin: Member) -> None:
    await ada.saves_voice()
    await says(ada)
    await server.restarts(audit_days=1)
    await server.bot.policy.audit.written()
    assert "posted speech" in await moderates(admin, "log")

    async with server.bot.policy.audit._database.write() as session:
        yesterday = discord.utils.utcnow() - timedelta(days=1, seconds=1)
        await session.execute(update(AuditRow).values(at=yesterday))
    await server.restarts()
    await server.bot.policy.audit.written()
    assert await moderates(admin, "log") == "Nothing like that happened here in the last day."
