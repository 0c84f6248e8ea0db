"""What one process decides holds in the others, over one database of either kind."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from bot.errors import Reason, Refusal
from bot.guilds.access import Actor
from bot.guilds.dismissal import dismiss
from bot.guilds.policy import Policy
from bot.guilds.records import EVERYWHERE, FreezeKind
from bot.interface.wording.sentences import REFUSALS, link_commands
from bot.storage.database import open_database
from bot.voice_access import VoiceAccess
from bot.voices.library import VoiceLibrary
from tests.support.databases import database_url, postgres_url, sqlite_url
from tests.support.discord_server import Member, Server, open_server
from tests.support.voice_guild import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from backend.contract import SpeechRequest
    from bot.storage.database import Database
    from tests.support.scripted_backend import ScriptedBackend

__all__ = ["database_url", "postgres_url", "sqlite_url"]

REASONS = [Reason.BLOCKED_HERE, Reason.VOICE_REMOVED, Reason.VOICE_DELETED_MEANWHILE]


@pytest.fixture
async def server(
    tmp_path: Path, backend: ScriptedBackend, database_url: str
) -> AsyncIterator[Server]:
    async with open_server(tmp_path, backend, database_url=database_url) as opened:
        yield opened


@pytest.fixture
async def elsewhere(server: Server) -> AsyncIterator[Database]:
    """The database, as another process has it open."""
    database = await open_database(server.bot.settings.database_url)
    yield database
    await database.close()


async def decide(elsewhere: Database, reason: Reason, person: int, guild: int) -> None:
    """Another process decides what refuses a person for that reason."""
    moderation, library = Policy(elsewhere).moderation, VoiceLibrary(elsewhere)
    if reason is Reason.BLOCKED_HERE:
        await moderation.block(person, guild, by=None)
    elif reason is Reason.VOICE_REMOVED:
        await moderation.freeze(1, person, EVERYWHERE, FreezeKind.REMOVED, by=None)
    else:
        await library.delete((await library.about([1]))[1])


async def test_a_decision_counts_from_the_next_command_on(
    server: Server, elsewhere: Database
) -> None:
    grace = server.member("grace")
    await grace.saves_voice()
    assert (await grace.types("say", text="Hello.")).posted
    for reason in (Reason.VOICE_REMOVED, Reason.BLOCKED_HERE):
        await decide(elsewhere, reason, grace.actor.id, server.guild.id)
        answer = await grace.types("say", text="Hello.")
        assert answer.told == link_commands(REFUSALS[reason], server.bot.command_ids)
        assert not answer.posted


async def test_a_claimed_voice_is_silent_everywhere_until_an_operator_dismisses_the_claim(
    server: Server, elsewhere: Database
) -> None:
    guild, user = server.env.create_guild("Elsewhere"), server.env.create_user("ada")
    ada = Member(server, server.guild.add_member(user))
    there = Server(server.env, server.bot, None, guild.create_text_channel("text"))
    ada_there = Member(there, guild.add_member(user))
    other_process, library = Policy(elsewhere), VoiceLibrary(elsewhere)
    access, asker = VoiceAccess(other_process, library), Actor(ada.actor.id, guild.id)
    frozen = link_commands(REFUSALS[Reason.VOICE_FROZEN], server.bot.command_ids)
    await ada.saves_voice()
    [message] = (await ada.types("say", text="Hello.")).posted

    await server.member("grace").types("voice claim", message=message.jump_url)
    for member in (ada, ada_there):
        answer = await member.types("say", text="Hello.")
        assert (answer.told, answer.posted) == (frozen, [])
    with pytest.raises(Refusal) as refused:
        await access.find(asker, "ada")
    assert refused.value.reason is Reason.VOICE_FROZEN

    await dismiss(other_process, 1, by=None, where=EVERYWHERE)
    for member in (ada, ada_there):
        assert (await member.types("say", text="Hello.")).posted
    await access.find(asker, "ada")


@pytest.mark.realtime
@pytest.mark.parametrize("reason", REASONS)
async def test_a_decision_ends_what_is_being_made(
    server: Server, elsewhere: Database, backend: ScriptedBackend, reason: Reason
) -> None:
    grace = server.member("grace")
    await grace.saves_voice()
    asked = asyncio.Event()

    async def never_ends(_request: SpeechRequest) -> None:
        asked.set()
        await asyncio.Event().wait()

    backend.on_speak = never_ends
    server.in_real_time()
    loop = server.bot.get_cog("Upkeep")._enforce  # type: ignore[union-attr]
    loop.change_interval(seconds=0.1)
    loop.restart()  # by the real time
    answer = await grace.types("say", text="Hello.")
    await asked.wait()
    await decide(elsewhere, reason, grace.actor.id, server.guild.id)
    told = link_commands(REFUSALS[reason], server.bot.command_ids)
    await eventually(lambda: answer.told == told, within=10)
    assert not answer.posted
