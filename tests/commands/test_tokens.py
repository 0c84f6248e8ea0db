"""Commands that outlast the interaction's token: no request is wasted, and nobody waits in vain."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from backend.contract import GenerationFailedError
from bot.interface.wording.sentences import GOES_ON_IN_SILENCE
from tests.support.public_words import attribution
from tests.support.voice_guild import eventually

if TYPE_CHECKING:
    import discord

    from tests.support.discord_server import Answer, Member, Server
    from tests.support.scripted_backend import ScriptedBackend

SPARE = 10.0
"""So long before its end, the bot no longer relies on a token."""

pytestmark = pytest.mark.realtime


@pytest.fixture
def may_end() -> asyncio.Event:
    """Set once the speech may be made."""
    return asyncio.Event()


@pytest_asyncio.fixture(loop_scope="module")
async def slow(
    server: Server,
    ada: Member,
    backend: ScriptedBackend,
    may_end: asyncio.Event,
) -> Member:
    """A member whose speech takes longer than the tokens of the server last."""
    await ada.saves_voice(name="Ada")
    server.in_real_time()

    async def speak(_request: object) -> None:
        await may_end.wait()

    backend.on_speak = speak
    return ada


@pytest.fixture
def failing(backend: ScriptedBackend, slow: Member, may_end: asyncio.Event) -> Member:
    """A member whose speech fails in the end."""

    async def speak(_request: object) -> None:
        await may_end.wait()
        raise GenerationFailedError("noise")

    backend.on_speak = speak
    return slow


async def outlasts_the_token(server: Server, who: Member) -> Answer:
    """Begin a command; return when the bot must rely on its token no longer."""
    with server.tokens.last_only(SPARE + 1.0):
        answer = await who.types("say", text="One. Two.")
    await eventually(lambda: GOES_ON_IN_SILENCE in answer.told)
    await asyncio.sleep(1.0)
    server.tokens.end()
    return answer


async def is_done(server: Server, may_end: asyncio.Event) -> None:
    may_end.set()
    await eventually(lambda: not server.bot.replies.open)


def told_directly(who: Member) -> discord.Message:
    message = who.actor.user.dm_channel.last_message
    assert message is not None
    return message


def last_in_channel(server: Server) -> discord.Message:
    message = server.channel.last_message
    assert message is not None
    return message


async def test_progress_falls_silent_and_the_speech_is_posted(
    server: Server, slow: Member, may_end: asyncio.Event
) -> None:
    await outlasts_the_token(server, slow)
    await is_done(server, may_end)
    message = last_in_channel(server)
    assert message.content.startswith(f"{attribution('Ada', slow)}:"), "one mention is enough"
    assert len(message.attachments) == 1
    assert server.tokens.refused == 0


async def test_a_failure_is_told_directly(
    server: Server, failing: Member, may_end: asyncio.Event
) -> None:
    await outlasts_the_token(server, failing)
    await is_done(server, may_end)
    words = told_directly(failing).content
    assert words.startswith("The voice engine gave no usable speech this time.")
    assert server.tokens.refused == 0


async def test_who_takes_no_direct_messages_is_told_that_there_is_news(
    server: Server, failing: Member, may_end: asyncio.Event
) -> None:
    await outlasts_the_token(server, failing)
    server.breaks("POST", "/users/@me/channels", status=403, code=50007)
    await is_done(server, may_end)
    words = last_in_channel(server).content
    assert words.startswith(f"{failing.actor.mention} Your command is done, but I couldn't")
    assert "usable speech" not in words, "what the news is, is private"
    assert server.tokens.refused == 0


async def test_stop_works_after_the_token_has_ended(server: Server, slow: Member) -> None:
    """A press of the button is an interaction of its own, with a token of its own."""
    answer = await outlasts_the_token(server, slow)
    stopped = await slow.presses(answer.private, "Stop")
    await eventually(lambda: stopped.told == "Stopped, as you asked. Nothing was posted.")
    assert server.tokens.refused == 0


async def test_a_token_that_ends_early_costs_one_request(
    server: Server, slow: Member, may_end: asyncio.Event
) -> None:
    await slow.types("say", text="One. Two. Three. Four.")
    server.tokens.end()
    await eventually(lambda: server.tokens.refused)
    await is_done(server, may_end)
    assert len(last_in_channel(server).attachments) == 1
    assert server.tokens.refused == 1


async def test_a_clock_that_is_wrong_costs_nothing(
    server: Server, slow: Member, may_end: asyncio.Event
) -> None:
    """By this machine's clock, the interaction is an hour old when it arrives."""
    with server.tokens.last_only(-3_600):
        answer = await slow.types("say", text="One. Two.")
        await eventually(lambda: server.bot.replies.open)
    server.tokens.never_end()
    await eventually(lambda: server.bot.replies.open)
    await is_done(server, may_end)
    assert len(await answer.files()) == 1, "it is posted as an answer to the command"


async def test_where_the_bot_may_not_post_nothing_is_tried(
    server: Server, slow: Member, may_end: asyncio.Event
) -> None:
    await server.forbids_bot(send_messages=False)
    await outlasts_the_token(server, slow)
    await is_done(server, may_end)
    assert not server.requests("POST", f"/channels/{server.channel.id}/messages")
    assert len(told_directly(slow).attachments) == 1
    assert server.tokens.refused == 0


async def test_an_attachment_whose_address_has_expired_is_a_sentence(
    server: Server, ada: Member
) -> None:
    with server.attachments_expire():
        answer = await ada.clones(b"a recording")
    assert answer.told == "I couldn't fetch that file from Discord. Please send it again."
