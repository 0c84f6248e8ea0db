"""`/say format: Voice message`: speech that Discord shows with a waveform and a play button.

simcord keeps neither the waveform nor the duration that it is sent, and takes voice messages from
anybody. So the first is asserted on the bot's requests, and refusals are injected.
"""

from __future__ import annotations

import io
from base64 import b64decode
from typing import TYPE_CHECKING, Any

import discord
import pytest
import pytest_asyncio
import soundfile
from aiohttp import web

from bot.audio.encode import SpeechFile
from bot.interface.delivery import voice_message
from tests.commands.test_say import LONG_TEXT
from tests.support.public_words import below_voice_message, beside_file

if TYPE_CHECKING:
    from tests.support.discord_server import Answer, Member, Server

TEXT = "Hello there, all of you."
FOLLOW_UP, CHANNEL = "/webhooks/*", "/channels/*/messages"

NOT_ALLOWED = {"status": 403, "code": 50173}  # "Cannot send voice messages in this channel"


@pytest_asyncio.fixture(loop_scope="module")
async def answer(ada: Member, recording: bytes) -> Answer:
    await ada.clones(recording, name="Ada")
    return await ada.types("say", text=TEXT, format="voice-message")


def voice_messages(server: Server) -> list[Any]:
    """The bodies of the requests that were voice messages."""
    return [body for body in server.requests("POST", "") if body and body.get("flags") == 8192]


async def test_is_one_ogg_opus_file_with_its_length_and_its_waveform(
    server: Server, answer: Answer
) -> None:
    [sent] = voice_messages(server)
    assert set(sent) == {"flags", "attachments"}, "words would be refused"
    [attachment] = sent["attachments"]
    [file] = await answer.files()
    heard = soundfile.info(io.BytesIO(file))
    assert (heard.format, heard.subtype, heard.channels) == ("OGG", "OPUS", 1)
    assert attachment["duration_secs"] == pytest.approx(heard.duration, abs=0.06)
    drawn = b64decode(attachment["waveform"], validate=True)
    assert 10 <= len(drawn) <= 256
    assert max(drawn) == 255


async def test_who_asked_and_the_notice_follow(ada: Member, answer: Answer) -> None:
    spoken, words = answer.posted
    assert spoken.flags.voice
    assert not spoken.content
    assert words.content == below_voice_message("Ada", TEXT, ada)
    assert not words.attachments
    assert answer.private is None, "nothing private is left to read"


async def test_goes_into_the_channel_if_the_command_takes_no_voice_message(
    server: Server, ada: Member, recording: bytes
) -> None:
    await ada.clones(recording, name="Ada")
    server.breaks("POST", FOLLOW_UP, status=400, code=50035)
    answer = await ada.types("say", text=TEXT, format="voice-message")
    [words] = answer.posted
    assert words.content == below_voice_message("Ada", TEXT, ada)
    [spoken] = [message for message in server.channel.history() if message.flags.voice]
    assert len(spoken.attachments) == 1


@pytest.mark.parametrize(
    "refusal", [NOT_ALLOWED, {"status": 400, "code": 50035}, {"status": 413, "code": 40005}]
)
async def test_is_an_ordinary_file_where_voice_messages_are_refused(
    server: Server, ada: Member, recording: bytes, refusal: dict[str, int]
) -> None:
    await ada.clones(recording, name="Ada")
    server.breaks("POST", FOLLOW_UP, **refusal)
    server.breaks("POST", CHANNEL, **refusal)
    answer = await ada.types("say", text=TEXT, format="voice-message")
    [message] = answer.posted
    assert not message.flags.voice
    assert message.content == beside_file("Ada", TEXT, ada)
    [attachment] = message.attachments
    assert attachment.filename == "speech.ogg"


@pytest.mark.parametrize("way", ["follow-up", "channel"])
async def test_is_never_left_without_words(
    server: Server, ada: Member, recording: bytes, way: str
) -> None:
    """A voice message that nobody can tell from a person's is taken back, and is a file instead."""
    await ada.clones(recording, name="Ada")
    if way == "follow-up":
        with (
            server.breaks_after(1, "POST", FOLLOW_UP, status=400, code=50035),
            server.breaks_after(0, "POST", CHANNEL, status=403, code=50013),
        ):
            answer = await ada.types("say", text=TEXT, format="voice-message")
    else:
        server.breaks("POST", FOLLOW_UP, status=400, code=50035, times=2)
        with server.breaks_after(1, "POST", CHANNEL, status=403, code=50013):
            answer = await ada.types("say", text=TEXT, format="voice-message")
    [message] = server.channel.history()[-1:]
    assert message.content == beside_file("Ada", TEXT, ada)
    assert [file.filename for file in message.attachments] == ["speech.ogg"]
    assert not [message for message in server.channel.history() if message.flags.voice]
    assert answer.private is None


async def test_the_words_go_where_the_voice_message_is(
    server: Server, ada: Member, recording: bytes
) -> None:
    await ada.clones(recording, name="Ada")
    with server.breaks_after(1, "POST", FOLLOW_UP, status=404, code=10015):
        await ada.types("say", text=TEXT, format="voice-message")
    *_, spoken, words = server.channel.history()
    assert spoken.flags.voice
    assert words.content == below_voice_message("Ada", TEXT, ada)


async def test_several_files_are_no_voice_message(
    server: Server, ada: Member, recording: bytes
) -> None:
    await ada.clones(recording, name="Ada")
    with server.upload_limit(100_000):
        answer = await ada.types("say", text=LONG_TEXT[:2_000], format="voice-message")
    assert len(await answer.files()) > 1
    assert not voice_messages(server)


async def test_never_takes_the_place_of_the_private_message(
    server: Server, ada: Member, recording: bytes
) -> None:
    """Discord would show the first follow-up to a message that still thinks to nobody else."""
    await ada.clones(recording, name="Ada")
    server.breaks("PATCH", "/webhooks/*", status=400, code=50035)
    await ada.types("say", text=TEXT, format="voice-message")
    [spoken] = [message for message in server.channel.history() if message.flags.voice]
    assert not spoken.flags.ephemeral


async def test_the_upload_is_marked_as_audio(monkeypatch: pytest.MonkeyPatch) -> None:
    """Discord ignores the length and the waveform of what is uploaded as anything else."""
    received: dict[str, Any] = {}

    async def account(_request: web.Request) -> web.Response:
        return web.Response(body=b"{}", content_type="application/json")

    async def take(request: web.Request) -> web.Response:
        form = await request.post()
        upload = form["files[0]"]
        assert isinstance(upload, web.FileField)
        received.update(type=upload.content_type, name=upload.filename, data=upload.file.read())
        posted = b'{"id": "7", "channel_id": "5"}'
        return web.Response(body=posted, content_type="application/json")

    app = web.Application()
    app.add_routes([web.get("/users/@me", account), web.post("/channels/5/messages", take)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    monkeypatch.setattr(discord.http.Route, "BASE", f"http://127.0.0.1:{runner.addresses[0][1]}")
    try:
        async with discord.Client(intents=discord.Intents.default()) as client:
            await client.http.static_login("token")
            file = SpeechFile("speech.ogg", b"OggS and so on", 1.5)
            route = voice_message.channel_message(5)
            posted = await voice_message.send_voice_message(client, route, file, b"\x10\xff")
    finally:
        await runner.cleanup()
    assert received == {"type": "audio/ogg", "name": "speech.ogg", "data": file.data}
    assert posted == (7, 5)
