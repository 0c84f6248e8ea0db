"""Writes down what a reference clip says, with Whisper. Nothing else uses faster-whisper."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soxr
from faster_whisper import WhisperModel
from faster_whisper.utils import _MODELS, available_models

from backend.contract import (
    MAX_REFERENCE_SECONDS,
    MAX_TRANSCRIPT_CHARACTERS,
    BackendUnavailableError,
    ReferenceUnusableError,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

GPU_MODEL = "large-v3-turbo"

CPU_MODEL = "base"
"""Takes seconds on a CPU. "small" makes fewer errors and takes about three times as long."""

LANGUAGE_OF_CODE = {
    "zh": "Chinese",
    "en": "English",
    "ja": "Japanese",
    "ko": "Korean",
    "de": "German",
    "fr": "French",
    "ru": "Russian",
    "pt": "Portuguese",
    "es": "Spanish",
    "it": "Italian",
}
"""Whisper's codes for the languages of `backend.contract.LANGUAGES`."""

_WHISPER_SAMPLE_RATE = 16_000
_SURE_OF_LANGUAGE = 0.5
_MAX_TOKENS = 224
"""The most tokens of a window of 30 s: half of Whisper's limit, twice what fast speech needs."""

_TEMPERATURES = (0.0, 0.4)
"""A first attempt that loops or is unsure is repeated once, not five times as Whisper does."""


def repository_of(model: str) -> str:
    """The repository on the hub of a transcriber, given by a name that faster-whisper knows.

    Raises `BackendUnavailableError` for any other name.
    """
    if "/" in model:
        return model
    try:
        return str(_MODELS[model])
    except KeyError:
        known = ", ".join(available_models())
        raise BackendUnavailableError(
            f"TRANSCRIBER_MODEL must be none, a folder, a repository on the hub, or one of {known}."
        ) from None


@dataclass(frozen=True, slots=True)
class Transcription:
    """What a clip says.

    Attributes:
        text: The transcript; empty if nobody speaks.
        language: One of `backend.contract.LANGUAGES`, or None if it is another or uncertain.
        language_confidence: From 0 to 1. An English-only model, which cannot tell, has 0.
    """

    text: str = field(repr=False)
    language: str | None
    language_confidence: float


class Transcriber:
    """A loaded Whisper model. Threads may share it."""

    def __init__(self, model: str | Path, *, device: str = "auto") -> None:
        """Load the model, which takes seconds, or minutes if it must be downloaded first.

        Args:
            model: The folder of a Whisper model converted for CTranslate2, or a name that
                faster-whisper knows and downloads.
            device: "cpu", "cuda", or "auto" for a GPU if there is one.

        Raises `BackendUnavailableError` if the model is missing or cannot be loaded.
        """
        try:
            self._model = _load(model, device)
        except Exception as error:  # a damaged tokenizer raises no type of its own
            raise BackendUnavailableError(
                f"the transcription model {model} can't be loaded ({type(error).__name__}): name "
                "the folder of a converted Whisper model, or one that faster-whisper can download"
            ) from error

    def transcribe(self, samples: NDArray[np.float32], sample_rate: int) -> Transcription:
        """Write down what a clip says.

        At most two attempts are made, each of one window and 224 tokens.

        Args:
            samples: Mono `(n,)`, in [-1, 1].
            sample_rate: In Hz.

        Raises `ReferenceUnusableError` for anything but a recording of at most
        `MAX_REFERENCE_SECONDS`.
        """
        _check(samples, sample_rate)
        segments, info = self._model.transcribe(
            soxr.resample(samples, sample_rate, _WHISPER_SAMPLE_RATE),
            temperature=_TEMPERATURES,
            max_new_tokens=_MAX_TOKENS,
            condition_on_previous_text=False,
            without_timestamps=True,
        )
        text = "".join(segment.text for segment in segments).strip()
        confidence = info.language_probability if self._model.model.is_multilingual else 0.0
        language = LANGUAGE_OF_CODE.get(info.language)
        if self._model.model.is_multilingual and confidence < _SURE_OF_LANGUAGE:
            language = None
        return Transcription(text[:MAX_TRANSCRIPT_CHARACTERS], language, confidence)


def _load(model: str | Path, device: str) -> WhisperModel:
    folder = Path(model)
    if folder.is_dir():
        for name in ("model.bin", "tokenizer.json"):
            # Without a tokenizer faster-whisper would ask the hub for one.
            if not (folder / name).is_file():
                raise FileNotFoundError(name)
    return WhisperModel(str(model), device=device, compute_type="auto")


def _check(samples: NDArray[np.float32], sample_rate: int) -> None:
    """Raise `ReferenceUnusableError` unless this is a recording of a length that can serve."""
    # Whisper would take a string as a path to open.
    if not isinstance(samples, np.ndarray) or samples.ndim != 1 or samples.dtype != np.float32:
        raise ReferenceUnusableError("it is not mono float32")
    if not 0 < len(samples) <= MAX_REFERENCE_SECONDS * sample_rate:
        raise ReferenceUnusableError(f"it does not last up to {MAX_REFERENCE_SECONDS:.0f} s")
    if not np.isfinite(samples).all():
        raise ReferenceUnusableError("it holds samples that are not numbers")
