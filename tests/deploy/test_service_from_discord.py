"""The whole product at once: a person on Discord, the bot, Modal's client, a container, the model.

Everything but Discord, Modal's servers and the size of the model is the real thing.
"""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from bot.speech.modal.backend import ModalBackend
from bot.speech.modal.client import ModalService
from tests.speech.bot_on_modal import open_bot
from tests.support.api import running_api
from tests.support.modal_server.faults import TOKEN_ID, TOKEN_SECRET
from tests.support.public_words import beside_file
from tests.support.recordings import as_file, speech

if TYPE_CHECKING:
    from tests.support.modal_server import ModalServer

pytestmark = pytest.mark.slow


def assert_is_speech(ogg: bytes) -> None:
    """Ogg/Opus, as Discord plays it, with something to hear in it."""
    info = soundfile.info(io.BytesIO(ogg))
    assert (info.format, info.subtype, info.channels) == ("OGG", "OPUS", 1)
    samples, sample_rate = soundfile.read(io.BytesIO(ogg), dtype="float32")
    # A model with random weights may end its speech after two or three frames of 80 ms.
    assert 0.1 < len(samples) / sample_rate < 60
    assert np.sqrt(np.mean(samples**2)) > 0.01


async def test_a_member_clones_a_voice_and_speaks_with_it(
    deployment: ModalServer,
    settings: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MODAL_SERVER_URL", deployment.url)
    before = len(deployment.calls)
    recording = as_file(speech(6.0), 24_000, "m4a")

    async with open_bot(tmp_path) as discord_server:
        ada = discord_server.member("ada")
        cloned = await ada.clones(recording, "Good evening, everyone.", name="Ada")
        assert "Your voice is saved as **Ada**." in cloned.told
        [message] = cloned.posted
        assert message.content == beside_file("Ada", "Good evening, everyone.", ada, notice=None)
        [ogg] = await cloned.files()
        assert_is_speech(ogg)

        said = await ada.types("say", text="How was your day? Mine was fine.")
        [ogg] = await said.files()
        assert_is_speech(ogg)

        backend = discord_server.bot.studio.backend
        deployed = Path(settings["MODEL_ID"]).name
        assert backend.model_id.startswith(deployed), "learned from what is deployed"

    done = [(call.name, call.status) for call in deployment.calls[before:]]
    assert done == [
        ("create_voice_prompt", "SUCCESS"),
        ("stream_with_prompt", "SUCCESS"),
        ("stream_with_prompt", "SUCCESS"),
        ("stream_with_prompt", "SUCCESS"),
    ]


async def test_a_client_of_the_api_hears_the_model_in_a_container(
    deployment: ModalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODAL_SERVER_URL", deployment.url)
    before = len(deployment.calls)
    recording = base64.b64encode(as_file(speech(6.0), 24_000, "m4a")).decode()
    body = {
        "input": "Good evening, everyone.",
        "ref_audio": recording,
        "consent": "own voice",
        "response_format": "opus",
        "x_vector_only_mode": True,
    }
    backend = ModalBackend(ModalService((TOKEN_ID, TOKEN_SECRET)), model_id="x/1", slots=4)
    async with running_api(tmp_path, backend) as api, api.client() as client:
        answer = await client.post("/v1/audio/speech", json=body)
        assert answer.status_code == 200, answer.text
        assert_is_speech(answer.content)
    done = [(call.name, call.status) for call in deployment.calls[before:]]
    assert done == [("create_voice_prompt", "SUCCESS"), ("stream_with_prompt", "SUCCESS")]
