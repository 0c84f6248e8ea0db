"""Commands that outlast the interaction's token: no request is wasted, and nobody waits in vain."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from backend.contract import GenerationFailedError
from bot.interface.wording import GOES_ON_IN_SILENCE

if TYPE_CHECKING:
    import discord

    from tests.support.discord_server import Member, Server
    from tests.support.scripted_backend import ScriptedBackend

MINUTE = 60.0


@pytest.fixture
async def ada_saved(ada: Member, recording: bytes) -> Member:
    await ada.clones(recording, name="Ada")
    return ada


async def takes(minutes: float, _request: object = None) -> None:
    await asyncio.sleep(minutes * MINUTE)


@pytest.fixture
def slow(backend: ScriptedBackend, ada_saved: Member) -> Member:
    """A member whose speech takes 16 minutes for the first sentence, and then no time."""
    sentences: list[object] = []

    async def speak(request: object) -> None:
        sentences.append(request)
        if len(sentences) == 1:
            await takes(16)

    backend.on_speak = speak
    return ada_saved


@pytest.fixture
def failing(backend: ScriptedBackend, ada_saved: Member) -> Member:
    """A member whose speech fails after 16 minutes."""

    async def speak(_request: object) -> None:
        await takes(16)
        raise GenerationFailedError("noise")

    backend.on_speak = speak
    return ada_saved


async def passes(server: Server, minutes: float) -> None:
    """Let time pass for Discord and the bot."""
    await server.env.advance_time(minutes * MINUTE)


def edits(server: Server) -> list[str]:
    return [body.get("content") or "" for body in server.requests("PATCH", "/@original")]


def told_directly(who: Member) -> discord.Message:
    message = who.actor.user.dm_channel.last_message
    assert message is not None
    return message


def last_in_channel(server: Server) -> discord.Message:
    message = server.channel.last_message
    assert message is not None
    return message


async def test_progress_falls_silent_and_the_speech_is_posted(server: Server, slow: Member) -> None:
    await slow.types("say", text="One. Two.")
    await passes(server, 14)
    assert edits(server)[-1].startswith("Speaking")
    assert GOES_ON_IN_SILENCE not in edits(server)[-1]
    await passes(server, 1)
    assert edits(server)[-1].endswith(GOES_ON_IN_SILENCE)
    await passes(server, 2)
    message = last_in_channel(server)
    assert message.content.startswith(f"{slow.actor.mention} **Ada** says:")
    assert len(message.attachments) == 1
    assert server.tokens.refused == 0


async def test_a_failure_is_told_directly(server: Server, failing: Member) -> None:
    await failing.types("say", text="One. Two.")
    await passes(server, 17)
    words = told_directly(failing).content
    assert words.startswith("The voice engine gave no usable speech this time.")
    assert server.tokens.refused == 0


async def test_who_takes_no_direct_messages_is_told_that_there_is_news(
    server: Server, failing: Member
) -> None:
    await failing.types("say", text="One. Two.")
    await passes(server, 15)
    server.breaks("POST", "/users/@me/channels", status=403, code=50007)
    await passes(server, 2)
    words = last_in_channel(server).content
    assert words.startswith(f"{failing.actor.mention} Your command is done, but I couldn't")
    assert "usable speech" not in words, "what the news is, is private"
    assert server.tokens.refused == 0


async def test_stop_works_after_the_token_has_ended(server: Server, slow: Member) -> None:
    """A press of the button is an interaction of its own, with a token of its own."""
    answer = await slow.types("say", text="One. Two.")
    await passes(server, 15.5)
    stopped = await slow.presses(answer.private, "Stop")
    assert stopped.told == "Stopped, as you asked. Nothing was posted."
    assert server.tokens.refused == 0


async def test_a_token_that_ends_early_costs_one_request(server: Server, slow: Member) -> None:
    await slow.types("say", text="One. Two.")
    server.tokens.end()
    await passes(server, 17)
    assert len(last_in_channel(server).attachments) == 1
    assert server.tokens.refused == 1


async def test_where_the_bot_may_not_post_nothing_is_tried(server: Server, slow: Member) -> None:
    await server.forbids_bot(send_messages=False)
    await slow.types("say", text="One. Two.")
    await passes(server, 17)
    assert not server.requests("POST", f"/channels/{server.channel.id}/messages")
    assert len(told_directly(slow).attachments) == 1
    assert server.tokens.refused == 0


async def test_the_buttons_of_old_pages_go_while_that_is_possible(
    server: Server, ada_saved: Member
) -> None:
    voices = server.bot.library
    [saved] = (await voices.page(ada_saved.actor.id)).voices
    clip = await voices.clip(saved)
    prompt = await voices.prompt(saved, "scripted/1")
    assert prompt is not None
    for number in range(11):
        await voices.save(
            ada_saved.actor.id,
            f"Voice {number}",
            clip_flac=clip.flac,
            clip_seconds=3.0,
            transcript=None,
            language=None,
            prompt=prompt,
        )
    answer = await ada_saved.types("voice list")
    assert answer.private is not None
    assert answer.private.components
    await passes(server, 20)
    assert server.requests("PATCH", "/@original")[-1]["components"] == []
    assert server.tokens.refused == 0


async def test_an_attachment_whose_address_has_expired_is_a_sentence(
    server: Server, ada: Member, recording: bytes
) -> None:
    with server.attachments_expire():
        answer = await ada.clones(recording)
    assert answer.told == "I couldn't fetch that file from Discord. Please send it again."
