"""What people on Discord notice of a speech server, and what they are told if it fails."""

from __future__ import annotations

import io
from functools import partial
from typing import TYPE_CHECKING

import aiohttp
import pytest
import soundfile

from bot.interface.wording.sentences import UNMARKED_NOTICE
from bot.settings import Settings
from bot.speech import open_backend
from tests.support.discord_server import open_server
from tests.support.recordings import as_file, speech
from tests.support.speech_server import refuses

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.discord_server import Answer, Member, Server
    from tests.support.speech_server import SpeechServerStub

KEY = "sk-of-the-bot"


@pytest.fixture
async def server(
    tmp_path: Path, stub: SpeechServerStub, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Server]:
    """The bot, with a speech server as whoever runs it would set it up."""
    stub.key = KEY
    # simcord takes the timer that closes an idle connection for work that goes on.
    connector = partial(aiohttp.TCPConnector, force_close=True)
    monkeypatch.setattr("bot.speech.http.server.aiohttp.TCPConnector", connector)
    settings = Settings(
        _env_file=None, speech_backend="http", speech_url=f"{stub.url}/v1/", speech_api_key=KEY
    )
    async with open_server(tmp_path, open_backend(settings)) as opened:
        opened.lets_time_pass()
        yield opened


@pytest.fixture
async def ada(server: Server) -> Member:
    """A member with a saved voice."""
    member = server.member("ada")
    recording = as_file(speech(6.0), 24_000, "m4a")
    assert not server.bot.studio.backend.marks
    cloned = await member.clones(recording, "Good evening.", name="Ada", transcript="Words.")
    assert UNMARKED_NOTICE in cloned.posted[0].content
    return member


async def seconds_heard(answer: Answer) -> float:
    [ogg] = await answer.files()
    return float(soundfile.info(io.BytesIO(ogg)).duration)


async def test_a_saved_voice_speaks_and_the_server_gets_its_recording_each_time(
    ada: Member, stub: SpeechServerStub
) -> None:
    said = await ada.types("say", text="How was your day? Mine was fine.")
    assert await seconds_heard(said) > 1
    assert {asked["ref_text"] for asked in stub.asked} == {"Words."}
    assert len({asked["ref_audio"] for asked in stub.asked}) == 1
    assert UNMARKED_NOTICE in said.posted[0].content

    stub.describes = {"watermarked": True}
    ada.server.bot.studio._speech._asked_at = None  # type: ignore[attr-defined]  # a minute later
    said = await ada.types("say", text="Now it marks its speech.")
    assert UNMARKED_NOTICE not in said.posted[0].content


async def test_failures_have_their_sentences_and_the_next_command_works(
    ada: Member, stub: SpeechServerStub
) -> None:
    stub.answers.append(refuses(429, retry_after="30"))
    told = (await ada.types("say", text="Hello.")).told
    assert told == ("Many people are speaking right now. Please try again in about 30 seconds.")
    stub.answers.append(refuses(500))
    told = (await ada.types("say", text="Hello.")).told
    assert told.startswith("The voice engine gave no usable speech this time.")
    stub.key = "sk-renewed"
    told = (await ada.types("say", text="Hello.")).told
    assert told == (
        "The voice engine doesn't let me in. Please tell whoever runs this bot: my key for it has "
        "to be renewed."
    )
    stub.key = KEY
    assert await seconds_heard(await ada.types("say", text="Hello.")) > 0
