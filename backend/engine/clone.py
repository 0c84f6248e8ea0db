"""A reference clip, as the model hears it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from backend.contract import (
    MAX_REFERENCE_SECONDS,
    MIN_REFERENCE_SECONDS,
    REFERENCE_SAMPLE_RATE,
    ReferenceUnusableError,
)
from backend.voice_prompt import ClonedVoice

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from backend.contract import ConsentRecord

TRAILING_SILENCE_SECONDS = 0.5
"""Silence that a reference ends with. Without it the model takes the clip for unfinished, and its
speech begins with an echo of the clip's last words."""

_SILENT_LEVEL = 10 ** (-50 / 20)  # of full scale: below, a recording holds nothing but its noise


@torch.inference_mode()
def clone_voice(
    model: Any,
    samples: NDArray[np.float32],
    transcript: str | None,
    consent: ConsentRecord | None,
) -> ClonedVoice:
    """Take a voice from a reference clip.

    Args:
        model: The package's `Qwen3TTSForConditionalGeneration`.
        samples: Mono float32 `(n,)` in [-1, 1], at `REFERENCE_SAMPLE_RATE`.
        transcript: Exactly what is said in it, for in-context mode; None is x-vector mode.
        consent: What the voice rests on.

    Raises `ReferenceUnusableError` if the samples cannot serve.
    """
    _check_samples(samples)
    # Only arrays ever reach the package: it would open a string as a path or an address.
    embedding = model.extract_speaker_embedding(samples, REFERENCE_SAMPLE_RATE)
    speaker_embedding = embedding.float().cpu().numpy()
    if not np.isfinite(speaker_embedding).all():
        raise ReferenceUnusableError("the model found no voice in it")
    if transcript is None:
        return ClonedVoice(speaker_embedding, consent=consent)
    heard = _end_in_silence(samples)
    codes = model.speech_tokenizer.encode([heard], sr=REFERENCE_SAMPLE_RATE).audio_codes[0]
    return ClonedVoice(speaker_embedding, codes.cpu().numpy().astype(np.int16), transcript, consent)


def _check_samples(samples: NDArray[np.float32]) -> None:
    """Raise `ReferenceUnusableError` unless it is a recording of a length that can serve."""
    if samples.ndim != 1 or samples.dtype != np.float32:
        raise ReferenceUnusableError("it is not mono float32")
    if not np.isfinite(samples).all():
        raise ReferenceUnusableError("it holds samples that are not numbers")
    seconds = len(samples) / REFERENCE_SAMPLE_RATE
    if not MIN_REFERENCE_SECONDS <= seconds <= MAX_REFERENCE_SECONDS:
        raise ReferenceUnusableError(
            f"it lasts {seconds:.1f} s, "
            f"not {MIN_REFERENCE_SECONDS:.0f} to {MAX_REFERENCE_SECONDS:.0f} s"
        )
    peak = np.abs(samples).max()
    if peak > 1:
        raise ReferenceUnusableError("it exceeds full scale")
    if peak < _SILENT_LEVEL:
        raise ReferenceUnusableError("it is silent")


def _end_in_silence(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Append what is missing of `TRAILING_SILENCE_SECONDS`."""
    last_sound = int(np.flatnonzero(np.abs(samples) >= _SILENT_LEVEL)[-1])
    wanted = last_sound + 1 + int(TRAILING_SILENCE_SECONDS * REFERENCE_SAMPLE_RATE)
    return np.pad(samples, (0, max(0, wanted - len(samples))))
