"""The GPU side on Modal: image, volume, class and entrypoints. The work is done in `backend/`.

    modal run deploy_backend.py::download_weights   # once, and after changing a model
    modal run deploy_backend.py                     # smoke test: writes test_output.wav
    modal deploy deploy_backend.py

docs/deploy.md describes the settings, which are read from the environment.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import modal

from backend.contract import StreamBegins
from backend.deploy_settings import read_deploy_settings
from backend.stored_weights import all_are_whole, folder_of, from_hub

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from backend.consent import Consent
    from backend.contract import PcmChunk

SETTINGS = read_deploy_settings(os.environ)
VOLUME_PATH = "/vol/models"

app = modal.App("qwen3-tts-voice-clone")
volume = modal.Volume.from_name("qwen3-tts-models", create_if_missing=True)

image = (
    modal.Image.debian_slim(python_version="3.12")
    .uv_pip_install(
        "torch==2.9.1",
        "torchaudio==2.9.1",
        "qwen-tts==0.1.1",
    )
    .env(SETTINGS.as_environment())
    .add_local_python_source("backend")
)


@app.cls(
    image=image,
    gpu=list(SETTINGS.gpus),
    volumes={VOLUME_PATH: volume},
    timeout=300,
    scaledown_window=SETTINGS.scaledown_window,
    min_containers=SETTINGS.min_containers,
    max_containers=SETTINGS.max_containers,
)
@modal.concurrent(max_inputs=10)
class Qwen3TTSService:
    """Clones voices and speaks with them."""

    @modal.enter()
    def load(self) -> None:
        """Load the model, once for each container."""
        volume_path = Path(VOLUME_PATH)
        if all_are_whole(SETTINGS, volume_path):
            os.environ["HF_HUB_OFFLINE"] = "1"  # read when the hub's client is imported
        from backend.service_loading import open_service  # noqa: PLC0415 - needs torch

        self._service = open_service(SETTINGS, volume_path)

    @modal.exit()
    async def close(self) -> None:
        """Tell those who still wait that the container goes."""
        await self._service.close()

    @modal.method()
    async def generate_voice_clone(
        self,
        text: str,
        language: str,
        ref_audio: bytes | str,
        ref_text: str | None = None,
        max_new_tokens: int = 2048,
        *,
        consent: Consent | None = None,
        seed: int | None = None,
    ) -> bytes:
        """Clone."""
        [speech] = await self._service.clone(
            [text], [language], ref_audio, ref_text, max_new_tokens, consent=consent, seed=seed
        )
        return speech

    @modal.method()
    async def generate_voice_clone_batch(
        self,
        texts: list[str],
        languages: list[str],
        ref_audio: bytes | str,
        ref_text: str | None = None,
        max_new_tokens: int = 2048,
        *,
        consent: Consent | None = None,
        seed: int | None = None,
    ) -> list[bytes]:
        """Clone."""
        return await self._service.clone(
            texts, languages, ref_audio, ref_text, max_new_tokens, consent=consent, seed=seed
        )

    @modal.method()
    async def create_voice_prompt(
        self,
        ref_audio: bytes | str,
        ref_text: str | None = None,
        *,
        consent: Consent | None = None,
        caller: str = "",
    ) -> dict[str, object]:
        """Make a voice to keep."""
        answer = await self._service.create_voice_prompt(
            ref_audio, ref_text, consent=consent, caller=caller
        )
        return dict(answer)

    @modal.method()
    async def generate_with_prompt(
        self,
        text: str,
        language: str,
        prompt: bytes,
        max_new_tokens: int = 2048,
        *,
        seed: int | None = None,
        caller: str = "",
    ) -> bytes:
        """Speak."""
        return await self._service.speak(
            text, language, prompt, max_new_tokens, seed=seed, caller=caller
        )

    @modal.method()
    async def stream_with_prompt(
        self,
        text: str,
        language: str,
        prompt: bytes,
        max_new_tokens: int = 2048,
        *,
        seed: int | None = None,
        caller: str = "",
    ) -> AsyncGenerator[StreamBegins | PcmChunk, None]:
        """Speak."""
        yield StreamBegins(modal.current_function_call_id() or "")
        async for chunk in self._service.stream(
            text, language, prompt, max_new_tokens, seed=seed, caller=caller
        ):
            yield chunk

    @modal.method()
    async def transcribe(self, ref_audio: bytes | str) -> dict[str, object]:
        """Transcribe."""
        return dict(await self._service.transcribe(ref_audio))

    @modal.method()
    async def detect_watermark(self, audio: bytes | str) -> dict[str, object]:
        """Detect."""
        return dict(await self._service.detect_watermark(audio))

    @modal.method()
    async def get_model_info(self) -> dict[str, object]:
        """Info."""
        return dict(self._service.info())

    @modal.method()
    async def health(self) -> dict[str, object]:
        """Health."""
        return dict(self._service.health())


@app.function(image=image, volumes={VOLUME_PATH: volume}, timeout=3600)
def download_weights() -> None:
    """Download."""
    print(from_hub(SETTINGS), folder_of, sys.argv)


@app.local_entrypoint()
def main() -> None:
    """Smoke test."""
    print(Qwen3TTSService().get_model_info.remote())
