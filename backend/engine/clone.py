"""Clones a voice: turns a reference clip into the content of a voice prompt."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from backend.contract import (
    MAX_REFERENCE_SECONDS,
    MIN_REFERENCE_SECONDS,
    REFERENCE_SAMPLE_RATE,
    ReferenceUnusableError,
    is_reference_length,
)
from backend.voice_prompt import ClonedVoice

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from backend.contract import ConsentRecord

TRAILING_SILENCE_SECONDS = 0.5
"""The silence that a reference clip has to end with. Without it the model treats the clip as
unfinished, and the speech begins with a repetition of the clip's last words."""

_SILENT_LEVEL = 10 ** (-50 / 20)  # of full scale: quieter samples count as noise


@torch.inference_mode()
def clone_voice(
    model: Any, samples: NDArray[np.float32], transcript: str | None, consent: ConsentRecord | None
) -> ClonedVoice:
    """Clone the voice of a reference clip.

    Args:
        model: The package's `Qwen3TTSForConditionalGeneration`.
        samples: Mono float32 `(n,)` in [-1, 1], at `REFERENCE_SAMPLE_RATE`.
        transcript: Exactly what is said in it, for in-context mode; None is x-vector mode.
        consent: Who attested that the voice may be cloned.

    Raises `ReferenceUnusableError` if the samples cannot be used.
    """
    _check_samples(samples)
    speaker_embedding = _speaker_embedding(model, samples)
    if not np.isfinite(speaker_embedding).all():
        raise ReferenceUnusableError("the model found no voice in it")
    if transcript is None:
        return ClonedVoice(speaker_embedding, consent=consent)
    padded = _with_trailing_silence(samples)
    codes = model.speech_tokenizer.encode([padded], sr=REFERENCE_SAMPLE_RATE).audio_codes[0]
    return ClonedVoice(speaker_embedding, codes.cpu().numpy().astype(np.int16), transcript, consent)


def _speaker_embedding(model: Any, samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute what the voice sounds like, with what the speaker encoder's own weights are in.

    The package takes the format and the device of the model's first weight instead. That is one of
    the matrices, which are packed on a processor.
    """
    weight = next(model.speaker_encoder.parameters())
    encoder = SimpleNamespace(
        speaker_encoder=model.speaker_encoder, device=weight.device, dtype=weight.dtype
    )
    # Never pass the package a string: it would open it as a path or an address.
    embed = type(model).extract_speaker_embedding
    embedding: torch.Tensor = embed(encoder, samples, REFERENCE_SAMPLE_RATE)
    return embedding.float().cpu().numpy()


def _check_samples(samples: NDArray[np.float32]) -> None:
    """Raise `ReferenceUnusableError` if the samples cannot be a clip of speech."""
    if samples.ndim != 1 or samples.dtype != np.float32:
        raise ReferenceUnusableError("it is not mono float32")
    if not np.isfinite(samples).all():
        raise ReferenceUnusableError("it holds samples that are not numbers")
    seconds = len(samples) / REFERENCE_SAMPLE_RATE
    if not is_reference_length(seconds):
        raise ReferenceUnusableError(
            f"it lasts {seconds:.1f} s, "
            f"not {MIN_REFERENCE_SECONDS:.0f} to {MAX_REFERENCE_SECONDS:.0f} s"
        )
    peak = np.abs(samples).max()
    if peak > 1:
        raise ReferenceUnusableError("it exceeds full scale")
    if peak < _SILENT_LEVEL:
        raise ReferenceUnusableError("it is silent")


def _with_trailing_silence(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Append silence until the clip ends with `TRAILING_SILENCE_SECONDS` of it."""
    last_sound = int(np.flatnonzero(np.abs(samples) >= _SILENT_LEVEL)[-1])
    wanted = last_sound + 1 + int(TRAILING_SILENCE_SECONDS * REFERENCE_SAMPLE_RATE)
    return np.pad(samples, (0, max(0, wanted - len(samples))))
