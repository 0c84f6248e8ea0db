"""The app of deploy_backend.py without a model: the same names, tones for speech, and no torch.

What it does is decided by words in the text, since nothing else of a test reaches the container.
"""

from __future__ import annotations

import asyncio
import math
import os
from array import array
from typing import TYPE_CHECKING

import modal

from backend.contract import BackendBusyError, VoicePromptModelMismatchError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

SAMPLE_RATE = 24_000
MODEL_ID = os.environ.get("MODEL_ID", "light/1")
SECONDS_TO_A_DEFECT = 1.0
"""A model fails after some work. If it failed at once, Modal's client might learn of that before it
gets what was yielded first: the two come separately."""

SECONDS_TO_LOAD = os.environ.get("SECONDS_TO_LOAD", "0")

app = modal.App("qwen3-tts-voice-clone")
image = (
    modal.Image.debian_slim(python_version="3.12")
    .env({"MODEL_ID": MODEL_ID, "SECONDS_TO_LOAD": SECONDS_TO_LOAD})
    .add_local_python_source("backend")
)


@app.cls(image=image, timeout=300, scaledown_window=300, max_containers=1)
@modal.concurrent(max_inputs=10)
class Qwen3TTSService:
    """Answers as the real class does, in tones."""

    @modal.enter()
    async def load(self) -> None:
        """Take as long as a model would."""
        await asyncio.sleep(float(SECONDS_TO_LOAD))

    @modal.method()
    async def create_voice_prompt(
        self,
        ref_audio: bytes,
        ref_text: str | None = None,
        *,
        consent: dict[str, object] | None = None,
        caller: str = "",
    ) -> dict[str, object]:
        """Make a voice: a pitch, from the length of the recording."""
        note("prompt", caller)
        if ref_text == "Slowly.":
            await take_long(caller)
        assert isinstance(consent, dict), "callers send plain data"
        return {
            "prompt": f"{MODEL_ID} {300 + len(ref_audio) % 400}".encode(),
            "model_id": MODEL_ID,
            "mode": "x-vector",
            "transcript": ref_text,
            "heard": {"text": "The birch canoe.", "language": "English", "differs": False},
        }

    @modal.method()
    async def stream_with_prompt(
        self,
        text: str,
        language: str,  # noqa: ARG002 - the real one's
        prompt: bytes,
        max_new_tokens: int = 2048,  # noqa: ARG002 - the real one's
        *,
        seed: int | None = None,
        caller: str = "",
    ) -> AsyncGenerator[dict[str, object], None]:
        """Speak in a tone, in four parts."""
        yield {"call_id": modal.current_function_call_id() or ""}
        note("speaks", caller, "seeded" if seed is not None else "unseeded")
        made_for, pitch = prompt.decode().split()
        if made_for != MODEL_ID:
            raise VoicePromptModelMismatchError(made_for, MODEL_ID)
        if "busy" in text:
            raise BackendBusyError(30.0)
        if "defect" in text:
            await asyncio.sleep(SECONDS_TO_A_DEFECT)
            raise RuntimeError(f"I cannot say {text}")
        if "fall silent" in text:
            await take_long(caller)
        for part in range(4):
            yield {"pcm": tone(int(pitch), 0.3), "sample_rate": SAMPLE_RATE}
            if "long pause" in text and part == 1:
                await take_long(caller)
            if "patiently" in text:
                await asyncio.sleep(0.3)

    @modal.method()
    async def health(self) -> dict[str, object]:
        """Say that it is there."""
        note("health")
        return {"ready": True, "model_id": MODEL_ID}


async def take_long(caller: str) -> None:
    """Work until somebody stops it."""
    note("works", caller)
    try:
        await asyncio.sleep(600)
    except asyncio.CancelledError:
        note("cancelled", caller)
        raise


def note(*words: str) -> None:
    """Write a line that a test reads in the containers' log."""
    print(*words, flush=True)  # noqa: T201 - see above


def tone(pitch: int, seconds: float) -> bytes:
    """A tone; mono s16le."""
    step = 2 * math.pi * pitch / SAMPLE_RATE
    samples = (round(8_000 * math.sin(step * n)) for n in range(round(seconds * SAMPLE_RATE)))
    return array("h", samples).tobytes()
