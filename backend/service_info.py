"""What the service says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from backend.answers import LimitsAnswer, ModelInfoAnswer
from backend.contract import (
    MAX_NEW_TOKENS,
    MAX_REFERENCE_SECONDS,
    MAX_SPOKEN_CHARACTERS,
    MAX_TRANSCRIPT_CHARACTERS,
    MIN_REFERENCE_SECONDS,
)
from backend.reference.audio import MAX_AUDIO_BYTES
from backend.speech_wish import MAX_TEXTS

if TYPE_CHECKING:
    from backend.engine.interface import EngineInfo

LIMITS = LimitsAnswer(
    min_reference_seconds=MIN_REFERENCE_SECONDS,
    max_reference_seconds=MAX_REFERENCE_SECONDS,
    max_reference_bytes=MAX_AUDIO_BYTES,
    max_transcript_characters=MAX_TRANSCRIPT_CHARACTERS,
    max_text_characters=MAX_SPOKEN_CHARACTERS,
    max_texts=MAX_TEXTS,
    max_new_tokens=MAX_NEW_TOKENS,
)


def model_info(
    info: EngineInfo, *, label: str, transcribes: bool, requires_consent: bool
) -> ModelInfoAnswer:
    """Describe a loaded engine, and measure the GPU's memory.

    Args:
        info: What the engine says.
        label: The model's name for people.
        transcribes: Whether anything listens to reference clips.
        requires_consent: Whether a voice needs its owner's consent.
    """
    is_gpu = info.device != "cpu"
    free, total = torch.cuda.mem_get_info(info.device) if is_gpu else (None, None)
    return ModelInfoAnswer(
        model_id=info.model_id,
        label=label,
        revision=info.revision,
        device=info.device,
        gpu=info.device_name if is_gpu else None,
        dtype=info.dtype,
        attention=info.attention,
        memory_bytes=info.memory_bytes,
        gpu_memory_bytes=total,
        gpu_memory_free_bytes=free,
        load_seconds=info.load_seconds,
        languages=list(info.languages),
        limits=LIMITS,
        transcribes=transcribes,
        requires_consent=requires_consent,
        versions=dict(info.versions),
    )
