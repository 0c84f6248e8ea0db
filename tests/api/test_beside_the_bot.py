"""The API in the bot's own process, and on another machine as the bot's voice engine."""

from __future__ import annotations

import asyncio
from argparse import Namespace
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from bot.api import commands
from bot.api.server import listen
from bot.speech import open_backend
from tests.api.test_speech import SPEECH, heard, in_base64, pitch_of
from tests.support.api import ANA, KEYS, api_settings, running_api
from tests.support.discord_server import NO_LIMITS, open_server
from tests.support.marked_speech import (
    MarkedBackend,
    item_text,
    passages,
    silence_within,
    unheard_seconds,
)
from tests.support.scripted_backend import ScriptedBackend
from tests.support.voice_guild import SPOKEN, last_word, open_voice

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.voice_guild import VoiceGuild

CALLERS = 16
TORN_SECONDS = 0.1
SECONDS = 4.0


@asynccontextmanager
async def api_of(guild: VoiceGuild) -> AsyncIterator[str]:
    """Serve the API in the process of the guild's bot, as `run --api` does; yield its address."""
    with listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    options = Namespace(host="127.0.0.1", port=port)
    async with commands.api_beside(guild.server.bot.services, options):
        yield f"http://127.0.0.1:{port}"


@pytest.mark.realtime
async def test_sixteen_callers_disturb_nobody_in_a_voice_channel(
    tmp_path: Path, recording: bytes
) -> None:
    backend = MarkedBackend()
    settings: dict[str, Any] = {**NO_LIMITS, "api_keys": f"{KEYS[ANA]}:{ANA}"}
    headers = {"authorization": f"Bearer {KEYS[ANA]}"}
    body = {
        "input": item_text(7, 2.0),
        "ref_audio": in_base64(recording),
        "consent": "own voice",
        "ref_text": "What is said.",
        "language": "English",
    }
    async with (
        open_server(tmp_path, backend, **settings) as server,
        open_voice(server) as world,
        api_of(world.guilds[0]) as url,
        httpx.AsyncClient(base_url=url, headers=headers, timeout=60) as client,
    ):
        guild = world.guilds[0]
        ada = await guild.speaker("ada")
        answer = await ada.says(1, SECONDS)
        await guild.call.begins()
        answers = await asyncio.gather(*(client.post(SPEECH, json=body) for _ in range(CALLERS)))
        assert {each.status_code for each in answers} == {200}
        assert SPOKEN in (await last_word(answer) or "")
        sound = await guild.call.heard(seconds=0.2)
        (passage,) = passages(sound)
        assert unheard_seconds(sound, 1, SECONDS) <= TORN_SECONDS
        assert silence_within(sound, passage) <= TORN_SECONDS
        lengths = [len(await heard(each.content)) / 24_000 for each in answers[:2]]
        assert lengths == pytest.approx([2.0, 2.0], abs=0.2)


async def test_a_bot_can_use_the_api_as_its_voice_engine(tmp_path: Path, recording: bytes) -> None:
    engine = ScriptedBackend()
    async with running_api(tmp_path, engine, database_url="none") as api:
        settings = api_settings(
            tmp_path, speech_backend="http", speech_url=api.url, speech_api_key=KEYS[ANA]
        )
        async with running_api(tmp_path, open_backend(settings)) as bot, bot.client() as client:
            body = {
                "input": "Hello there. And again.",
                "ref_audio": in_base64(recording),
                "consent": True,
                "ref_text": "What is said.",
                "response_format": "pcm",
                "seed": 3,
            }
            answer = await client.post(SPEECH, json=body)
            assert answer.status_code == 200, answer.text
            models = (await client.get("/v1/models")).json()["data"]
            assert models[0]["clones"] is False
            assert (await client.get("/ready")).status_code == 200
    assert engine.spoken == ["Hello there. And again."]
    assert {clip.transcript for clip in engine.clips} == {"What is said."}
    samples = await heard(answer.content, "pcm")
    assert pitch_of(samples[: 24_000 // 2]) == pytest.approx(400, abs=60)
