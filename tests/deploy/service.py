"""The deployed service, as its callers have it."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import modal
import numpy as np
import soundfile as sf

from tests.support.buzz import buzz

if TYPE_CHECKING:
    from numpy.typing import NDArray

APP_FILE = "deploy_backend.py"
APP_NAME = "qwen3-tts-voice-clone"
CONSENT = "This is my own voice, I agree."
SAMPLE_RATE = 24_000


def service(client: modal.Client) -> Any:
    """A handle to the class that is deployed now."""
    return modal.Cls.from_name(APP_NAME, "Qwen3TTSService", client=client)()


async def seed_of_long_speech(deployed: Any, text: str, prompt: bytes) -> int:
    """Speech of a model with random weights may be over before anybody can break it off."""
    speech = {
        seed: await deployed.generate_with_prompt.remote.aio(text, "English", prompt, seed=seed)
        for seed in range(8)
    }
    return max(speech, key=lambda seed: len(speech[seed]))


def recording(pitch: float = 110, seconds: float = 4.0) -> bytes:
    """A WAV file of somebody's voice, of sorts."""
    file = io.BytesIO()
    sf.write(file, buzz(pitch, seconds), SAMPLE_RATE, format="WAV", subtype="PCM_16")
    return file.getvalue()


def samples(wav: bytes) -> NDArray[np.float32]:
    """What a WAV file of the service holds, which must be 16-bit mono speech that can be heard."""
    with sf.SoundFile(io.BytesIO(wav)) as file:
        assert (file.samplerate, file.channels, file.subtype) == (SAMPLE_RATE, 1, "PCM_16")
        heard: NDArray[np.float32] = file.read(dtype="float32")
    assert np.sqrt(np.mean(heard**2)) > 0.01
    return heard
