"""What happens when Discord, the person or the bot itself gets in the way."""

from __future__ import annotations

import asyncio
import io
from itertools import count
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock, patch

import aiohttp
import discord
import pytest
import soundfile
from simcord import interactions
from structlog.testing import capture_logs

from backend.contract import BackendBusyError, GenerationFailedError
from bot.errors import Reason
from tests.support.public_words import beside_file
from tests.support.voice_guild import eventually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from backend.contract import SpeechRequest
    from tests.support.discord_server import Member, Server
    from tests.support.scripted_backend import ScriptedBackend


async def sleep_long(_request: object) -> None:
    await asyncio.sleep(3_600)


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


def fails_from(number: int) -> Callable[[SpeechRequest], Awaitable[None]]:
    """An engine that speaks so many sentences less one, and no more."""
    begun = count(1)

    async def speak(_request: SpeechRequest) -> None:
        if next(begun) >= number:
            raise BackendBusyError

    return speak


@pytest.mark.parametrize("command", ["say", "clone"])
async def test_what_was_spoken_before_the_engine_failed_is_posted(
    ada: Member, backend: ScriptedBackend, recording: bytes, command: str
) -> None:
    text = "This is one. This is two. This is three. This is four."
    if command == "say":
        await ada.clones(recording, name="Ada")
        backend.on_speak = fails_from(3)
        answer = await ada.types("say", text=text)
    else:
        backend.on_speak = fails_from(3)
        answer = await ada.clones(recording, text=text, name="Ada")
    assert "Many people are speaking right now." in answer.told
    assert answer.posted[0].content == beside_file(
        "Ada", text, ada, extent=", only 2 of 4 sentences"
    )
    (file,) = await answer.files()
    assert 1.0 < soundfile.info(io.BytesIO(file)).duration < 2.5


async def test_nothing_is_posted_if_the_first_sentence_fails(
    ada: Member, backend: ScriptedBackend, recording: bytes
) -> None:
    await ada.clones(recording, name="Ada")
    backend.on_speak = fails_from(1)
    answer = await ada.types("say", text="This is one. This is two.")
    assert "Many people are speaking right now." in answer.told
    assert not answer.posted


async def test_a_restart_of_the_bot_is_told_to_whoever_waits(
    server: Server, ada: Member, backend: ScriptedBackend, recording: bytes
) -> None:
    await ada.clones(recording, name="Ada")
    backend.on_speak = sleep_long
    await ada.begins("say", text="Hello there.")
    await server.bot.close()
    told = server.requests("PATCH", "/@original")[-1]["content"]
    assert told == "I have to restart now. Please run the command again in a minute."
    assert backend.closed


async def test_speech_that_took_longer_than_the_token_lasts_is_posted_all_the_same(
    server: Server, ada: Member, backend: ScriptedBackend, recording: bytes
) -> None:
    await ada.clones(recording, name="Ada")

    async def outlast_the_token(_request: object) -> None:
        server.breaks("*", "/webhooks/*", status=401, code=50027, times=99)

    backend.on_speak = outlast_the_token
    await ada.types("say", text="A long story.")
    message = server.channel.last_message
    assert message is not None
    assert message.content == beside_file("Ada", "A long story.", ada)
    assert [file.filename for file in message.attachments] == ["speech.ogg"]


async def test_a_failure_after_the_token_has_ended_comes_as_a_direct_message(
    server: Server, ada: Member, backend: ScriptedBackend, recording: bytes
) -> None:
    await ada.clones(recording, name="Ada")

    async def outlast_the_token_and_fail(_request: object) -> None:
        server.breaks("*", "/webhooks/*", status=404, code=10015, times=99)
        raise GenerationFailedError("noise")

    backend.on_speak = outlast_the_token_and_fail
    await ada.types("say", text="A long story.")
    message = ada.actor.user.dm_channel.last_message
    assert message is not None
    assert message.content.startswith("The voice engine gave no usable speech this time.")


POSTS = ("/webhooks/*", "/channels/*", "/users/@me/channels")
"""The requests by which speech could be posted."""


async def test_who_gets_no_speech_since_the_bot_may_not_post_is_told_what_to_ask_for(
    server: Server, ada: Member, recording: bytes
) -> None:
    await ada.clones(recording, name="Ada")
    for path in POSTS:
        server.breaks("POST", path, status=403, code=50013, times=9)
    answer = await ada.types("say", text="A story.")
    assert answer.told.startswith("I'm not allowed to post here. Ask an admin for Send Messages")


@pytest.mark.parametrize("unreachable", [*POSTS, None])
async def test_where_discord_cannot_be_reached_nobody_is_sent_to_an_admin(
    server: Server, ada: Member, recording: bytes, unreachable: str | None
) -> None:
    """One way fails, or all do."""
    await ada.clones(recording, name="Ada")
    for path in POSTS:
        fails = {"status": 503} if unreachable in {path, None} else {"status": 403, "code": 50013}
        server.breaks("POST", path, times=9, **fails)
    answer = await ada.types("say", text="A story.")
    assert answer.told == "I couldn't reach Discord to post that. Please run it again in a minute."


async def test_an_interaction_that_is_too_old_is_dropped_without_noise(
    server: Server, ada: Member, backend: ScriptedBackend
) -> None:
    server.breaks("POST", "/interactions/*", status=404, code=10062)
    answer = await ada.types("say", text="Hello.")
    assert not answer.posted
    assert backend.spoken == []
    assert len(server.errors()) == 1, "simcord notes what the bot has handled"


@pytest.mark.parametrize("given", [None, "", "own", 5])
async def test_a_command_that_was_published_with_other_options_asks_to_reload(
    server: Server, ada: Member, recording: bytes, given: object
) -> None:
    """A client that isn't up to date leaves `permission` out, or sends what isn't a choice now."""
    build = interactions.build_options

    def build_older(*arguments: Any, **more: Any) -> Any:
        options, resolved = build(*arguments, **more)
        [permission] = [option for option in options if option["name"] == "permission"]
        permission["value"] = given
        return [option for option in options if option["value"] is not None], resolved

    with patch.object(interactions, "build_options", build_older):
        answer = await ada.clones(recording, name="Ada")
    assert answer.told == "That command has changed. Please reload Discord (Ctrl+R) and try again."
    assert len(server.errors()) == 1, "simcord notes what the bot has handled"
    assert not answer.posted


async def test_an_attachment_that_cannot_be_fetched_is_a_sentence(
    ada: Member, recording: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(_attachment: discord.Attachment) -> bytes:
        response = Mock(status=404, reason="Not Found")
        raise discord.NotFound(response, "asset not found")

    monkeypatch.setattr(discord.Attachment, "read", gone)
    answer = await ada.clones(recording)
    assert answer.told == "I couldn't fetch that file from Discord. Please send it again."


async def test_a_defect_gets_a_number_for_the_person_and_the_log(
    ada: Member, backend: ScriptedBackend, recording: bytes
) -> None:
    await ada.clones(recording, name="Ada")

    async def break_down(_request: object) -> None:
        raise RuntimeError("secret detail")

    backend.on_speak = break_down
    with capture_logs() as logs:
        answer = await ada.types("say", text="Private words.")
    assert answer.told.startswith("Something broke on my side. Please try again in a minute;")
    assert "secret detail" not in answer.told
    [entry] = [entry for entry in logs if entry["event"] == "command failed"]
    assert f"`{entry['incident']}`" in answer.told
    assert "Private words." not in str(logs)


async def test_speech_stays_public_even_if_discord_refuses_the_private_words(
    server: Server, ada: Member, recording: bytes
) -> None:
    """Discord would make the first message after a wordless private answer private as well."""
    await ada.clones(recording, name="Ada")
    server.breaks("PATCH", "/webhooks/*", status=400)
    await ada.types("say", text="Hello.")
    message = server.channel.last_message
    assert message is not None
    assert message.content == beside_file("Ada", "Hello.", ada)
    assert not message.flags.ephemeral
    assert len(message.attachments) == 1


async def test_one_person_has_at_most_three_slots(
    ada: Member, grace: Member, backend: ScriptedBackend, recording: bytes
) -> None:
    await ada.clones(recording, name="Ada")
    await grace.clones(recording, name="Grace")
    backend.on_speak = sleep_long
    for _ in range(3):
        await ada.begins("say", text="Hello there.")
    refused = await ada.begins("say", text="Hello there.")
    assert refused.content.startswith("You already have 3 running.")
    other = await grace.begins("say", text="Hello there.")
    assert "Speaking" in other.content


async def test_a_connection_that_breaks_during_progress_costs_nothing(
    ada: Member,
    backend: ScriptedBackend,
    recording: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await ada.clones(recording, name="Ada")
    edit = discord.Interaction.edit_original_response
    edits = 0

    async def break_once(interaction: Any, **changes: Any) -> Any:
        nonlocal edits
        edits += 1
        if edits == 1:
            raise aiohttp.ServerDisconnectedError
        return await edit(interaction, **changes)

    async def take_a_while(_request: object) -> None:
        await asyncio.sleep(0.5)

    monkeypatch.setattr(discord.Interaction, "edit_original_response", break_once)
    backend.on_speak = take_a_while
    assert len(await (await ada.types("say", text="Hello there.")).files()) == 1
    assert edits >= 2, "the broken one was the progress, not the last words"


@pytest.mark.realtime
async def test_who_waits_is_told_as_soon_as_discord_can_be_reached_again(
    server: Server, ada: Member, backend: ScriptedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ada.saves_voice(name="Ada")
    server.in_real_time()
    tries = asyncio.Semaphore(0)

    async def cannot_be_reached(*_arguments: object, **_changes: object) -> None:
        tries.release()
        raise aiohttp.ServerDisconnectedError

    async def fails(_request: object) -> None:
        monkeypatch.setattr(discord.Interaction, "edit_original_response", cannot_be_reached)
        raise GenerationFailedError("noise")

    backend.on_speak = fails
    answer = await ada.types("say", text="Hello there.")
    async with asyncio.timeout(10):
        await tries.acquire()
    monkeypatch.undo()
    await eventually(lambda: "no usable speech" in answer.told, within=10)


async def test_speech_finds_its_person_when_the_channel_is_gone(
    server: Server, ada: Member, backend: ScriptedBackend, recording: bytes
) -> None:
    await ada.clones(recording, name="Ada")

    async def lose_token_and_channel(_request: object) -> None:
        server.breaks("*", "/webhooks/*", status=401, code=50027, times=99)
        server.breaks("POST", f"/channels/{server.channel.id}/*", status=404, code=10003, times=9)

    backend.on_speak = lose_token_and_channel
    await ada.types("say", text="A long story.")
    message = ada.actor.user.dm_channel.last_message
    assert message is not None
    assert len(message.attachments) == 1


async def test_speech_of_a_voice_that_is_forgotten_meanwhile_is_not_posted(
    server: Server, ada: Member, backend: ScriptedBackend, recording: bytes
) -> None:
    await ada.clones(recording, name="Ada")

    async def forget(_request: object) -> None:
        await server.bot.library.forget(ada.actor.id)

    backend.on_speak = forget
    answer = await ada.types("say", text="A long story.")
    assert (
        answer.told == "That voice was deleted, so I said nothing. Pick another with `/voice list`."
    )
    assert not answer.posted


async def test_a_question_that_is_open_when_the_bot_stops_is_answered(
    server: Server, ada: Member
) -> None:
    await ada.saves_voice()
    await ada.types("voice delete", voice="ada")
    await server.bot.close()
    last = server.requests("PATCH", "/@original")[-1]
    assert last["content"] == "I have to restart now. Please run the command again in a minute."
    assert last["components"] == []


async def test_a_defect_after_the_voice_was_saved_says_that_it_was(
    ada: Member, backend: ScriptedBackend, recording: bytes
) -> None:
    async def break_down(_request: object) -> None:
        raise RuntimeError

    backend.on_speak = break_down
    answer = await ada.clones(recording, name="Ada")
    assert answer.told.startswith("Something broke on my side.")
    assert "Your voice is saved as **Ada**. Use it any time with `/say`." in answer.told


async def test_a_bot_that_stops_while_it_fetches_a_recording_begins_no_work(
    server: Server,
    ada: Member,
    backend: ScriptedBackend,
    recording: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = discord.Attachment.read
    closing: list[asyncio.Task[None]] = []

    async def read_while_the_bot_stops(attachment: discord.Attachment) -> bytes:
        closing.append(asyncio.create_task(server.bot.close()))
        await asyncio.sleep(0)
        return await read(attachment)

    monkeypatch.setattr(discord.Attachment, "read", read_while_the_bot_stops)
    answer = await ada.clones(recording)
    assert answer.told == "I have to restart now. Please run the command again in a minute."
    assert not backend.clips
    await asyncio.gather(*closing)


async def test_stop_counts_even_when_there_was_nothing_left_to_stop(
    server: Server, ada: Member, backend: ScriptedBackend, recording: bytes
) -> None:
    await ada.clones(recording, name="Ada")

    async def press_too_late(_request: object) -> None:
        [reply] = server.bot.replies.open
        assert reply._working is not None
        # What a press leaves behind if the work ends before its cancellation arrives.
        reply._working.cancelled_for = Reason.STOPPED

    backend.on_speak = press_too_late
    answer = await ada.types("say", text="Hello.")
    assert answer.told == "Stopped, as you asked. Nothing was posted."
    assert not answer.posted
