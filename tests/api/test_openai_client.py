"""The official `openai` client works against the API unchanged."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import openai
import pytest
from openai import AsyncOpenAI

from tests.api.test_speech import Pause, heard, pitch_of
from tests.support.api import ANA, KEYS, Api, running_api, saved

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.scripted_backend import ScriptedBackend

TWO_SENTENCES = "This is the first sentence. And this is the second one."


def client_of(api: Api, key: str = KEYS[ANA], **options: Any) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{api.url}/v1", api_key=key, **options)


async def test_it_saves_a_voice_and_speaks_with_it(
    api: Api, backend: ScriptedBackend, recording: bytes
) -> None:
    async with client_of(api) as client:
        voice = await client.audio.voices.create(
            name="Me", audio_sample=("me.wav", recording), consent="own voice"
        )
        assert (voice.name, voice.object, voice.type) == ("Me", "audio.voice", "audio_sample")
        models = [model.id async for model in client.models.list()]
        assert models == ["scripted/1"]
        assert (await client.models.retrieve(models[0])).owned_by == "timbre"
        speech = await client.audio.speech.create(model="tts-1", voice="Me", input=TWO_SENTENCES)
        assert pitch_of(await heard(speech.content)) == pytest.approx(400, abs=2)
        cloned = await client.audio.speech.create(
            model=models[0],
            voice="alloy",
            input="Hello.",
            response_format="flac",
            extra_body={"ref_audio": base64.b64encode(recording).decode(), "consent": True},
        )
        assert len(await heard(cloned.content)) > 1_000

        pause = Pause(backend)
        async with client.audio.speech.with_streaming_response.create(
            model="gpt-4o-mini-tts",
            voice={"id": voice.id},
            input=TWO_SENTENCES,
            response_format="pcm",
        ) as answer:
            pieces = answer.iter_bytes(1_000)
            first = await anext(pieces)
            await pause.reached.wait()
            pause.goes_on.set()
            rest = [piece async for piece in pieces]
        assert len(first) + sum(map(len, rest)) > 2.5 * 48_000


async def test_it_raises_its_own_errors(api: Api, recording: bytes) -> None:
    await saved(api, recording)
    async with client_of(api, max_retries=0) as client:
        speak = client.audio.speech.create
        with pytest.raises(openai.NotFoundError) as missing:
            await speak(model="tts-1", voice="alloy", input="Hello.")
        assert missing.value.code == "no_such_voice"
        assert missing.value.request_id is not None
        with pytest.raises(openai.BadRequestError) as wrong:
            await speak(model="tts-1", voice="Me", input="")
        assert (wrong.value.param, wrong.value.type) == ("input", "invalid_request_error")
    async with client_of(api, "sk-wrong-key-that-is-long-enough") as client:
        with pytest.raises(openai.AuthenticationError):
            await client.models.list()


async def test_it_does_not_ask_again_in_vain_when_the_day_is_used_up(
    tmp_path: Path, backend: ScriptedBackend, recording: bytes
) -> None:
    async with running_api(tmp_path, backend, seconds_per_person=31) as api:
        await saved(api, recording)
        asked = 0
        begin = api.services.policy.begin

        async def count(*arguments: Any, **options: Any) -> Any:
            nonlocal asked
            asked += 1
            return await begin(*arguments, **options)

        api.services.policy.begin = count  # type: ignore[method-assign]
        async with client_of(api) as client:
            with pytest.raises(openai.RateLimitError):
                await client.audio.speech.create(
                    model="tts-1", voice="Me", input="one two three four five six. " * 15
                )
        assert asked == 1
