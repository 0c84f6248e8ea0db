"""What happens when Discord, the person or the bot itself gets in the way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import discord
import pytest

if TYPE_CHECKING:
    from tests.support.discord_server import Member, Server
    from tests.support.scripted_backend import ScriptedBackend


async def sleep_long(_request: object) -> None:
    await asyncio.sleep(30)


async def test_stop_ends_the_work_at_once(
    ada: Member, backend: ScriptedBackend, recording: bytes
) -> None:
    await ada.clones(recording, name="Ada")
    backend.spoken.clear()
    backend.on_speak = sleep_long
    progress = await ada.begins("say", text="One. " * 20 + "And the end of it.")
    assert "Speaking" in progress.content
    stopped = await ada.presses(progress, "Stop")
    assert stopped.told == "Stopped, as you asked. Nothing was posted."
    assert not stopped.posted
    assert backend.spoken == []

    backend.on_speak = None
    assert len(await (await ada.types("say", text="Hello.")).files()) == 1


async def test_a_restart_of_the_bot_is_told_to_whoever_waits(
    server: Server, ada: Member, backend: ScriptedBackend, recording: bytes
) -> None:
    await ada.clones(recording, name="Ada")
    backend.on_speak = sleep_long
    progress = await ada.begins("say", text="Hello there.")
    await server.bot.close()
    told = server.requests("PATCH", "/@original")[-1]["content"]
    assert told == "I have to restart now. Please run the command again in a minute."
    assert backend.closed
    del progress


async def test_speech_that_took_longer_than_the_token_lasts_is_posted_all_the_same(
    server: Server, ada: Member, backend: ScriptedBackend, recording: bytes
) -> None:
    await ada.clones(recording, name="Ada")

    async def outlast_the_token(_request: object) -> None:
        server.env.inject_error(
            "*", "/webhooks/*", status=401, code=50027, message="Invalid Webhook Token", times=None
        )

    backend.on_speak = outlast_the_token
    await ada.types("say", text="A long story.")
    message = server.channel.last_message
    assert message is not None
    assert message.content.startswith(f"{ada.actor.mention} **Ada** says:")
    assert [file.filename for file in message.attachments] == ["speech.ogg"]


async def test_a_refusal_after_the_token_has_ended_comes_as_a_direct_message(
    server: Server, ada: Member, backend: ScriptedBackend, recording: bytes
) -> None:
    await ada.clones(recording, name="Ada")

    async def outlast_the_token(_request: object) -> None:
        server.env.inject_error("*", "/webhooks/*", status=404, code=10015, times=None)
        raise ConnectionError

    backend.on_speak = outlast_the_token
    await ada.types("say", text="A long story.")
    del server


async def test_an_interaction_that_is_too_old_is_dropped_without_noise(
    server: Server, ada: Member, backend: ScriptedBackend
) -> None:
    server.env.inject_error("POST", "/interactions/*", status=404, code=10062)
    answer = await ada.types("say", text="Hello.")
    assert not answer.posted
    assert backend.spoken == []
    [error] = server.env.errors
    assert isinstance(error.__cause__ or error, discord.app_commands.CommandInvokeError | discord.NotFound)


async def test_an_attachment_that_cannot_be_fetched_is_a_sentence(
    server: Server, ada: Member, recording: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(_attachment: discord.Attachment) -> bytes:
        response = type("Response", (), {"status": 404, "reason": "Not Found"})()
        raise discord.NotFound(response, "asset not found")

    monkeypatch.setattr(discord.Attachment, "read", gone)
    answer = await ada.clones(recording)
    assert answer.told == "I couldn't fetch that file from Discord. Please send it again."
    del server


async def test_a_defect_gets_a_number_for_the_person_and_the_log(
    server: Server, ada: Member, backend: ScriptedBackend, recording: bytes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await ada.clones(recording, name="Ada")

    async def break_down(_request: object) -> None:
        raise RuntimeError("secret detail")

    backend.on_speak = break_down
    answer = await ada.types("say", text="Private words.")
    assert "Something broke on my side" in answer.told
    assert "secret detail" not in answer.told
    incident = answer.told.split("`")[1]
    assert len(server.env.errors) == 1
    del incident, caplog


async def test_progress_that_discord_refuses_does_not_stop_the_speech(
    server: Server, ada: Member, recording: bytes
) -> None:
    await ada.clones(recording, name="Ada")
    server.env.inject_error("PATCH", "/webhooks/*", status=500, times=3)
    assert len(await (await ada.types("say", text="Hello.")).files()) == 1
