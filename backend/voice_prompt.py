"""Writes and reads voice prompts, as safetensors bytes.

The bytes come from a caller and are not trusted: size, format, shapes, ranges and numbers are
checked before the model sees them. They hold two tensors and no code:

- `speaker_embedding`: float32 `(dimension,)`, the x-vector;
- `codes`: int16 `(frames, code_groups)`, the reference clip as codec frames. Only in-context
  prompts have it, together with the transcript.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from backend.consent import read_consent
from backend.contract import (
    MAX_REFERENCE_SECONDS,
    MAX_TRANSCRIPT_CHARACTERS,
    ConsentMissingError,
    VoicePromptInvalidError,
    VoicePromptModelMismatchError,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from backend.contract import ConsentRecord

FORMAT_VERSION = "1"

MAX_PROMPT_BYTES = 64 * 1024
"""The largest prompt. A 30 s reference for the 1.7B checkpoint takes about 22 KB."""

MAX_CODEC_FRAMES = int((MAX_REFERENCE_SECONDS + 1) * 12.5)
"""The frames of the longest reference and its trailing silence, at 12.5 frames a second."""

_IN_CONTEXT = "in-context"
_X_VECTOR = "x-vector"
_LENGTH_BYTES = 8  # safetensors begins with the length of its JSON header


@dataclass(frozen=True, slots=True)
class PromptModel:
    """The model that a prompt is made for, and the shapes it needs.

    Attributes:
        model_id: The name of the weights.
        revision: The commit of the weights on the hub; None if they come from a folder.
        dimension: Length of the speaker embedding.
        code_groups: Codes in a codec frame.
        codebook_size: Every code is below this.
    """

    model_id: str
    revision: str | None
    dimension: int
    code_groups: int
    codebook_size: int


@dataclass(frozen=True, slots=True)
class ClonedVoice:
    """The content of a voice prompt.

    Attributes:
        speaker_embedding: float32 `(dimension,)`.
        codes: int16 `(frames, code_groups)`, or None in x-vector mode.
        transcript: What is said in the reference clip; None exactly when `codes` is None.
        consent: Who attested that the voice may be cloned; None if the prompt holds no record.
    """

    speaker_embedding: NDArray[np.float32]
    codes: NDArray[np.int16] | None = None
    transcript: str | None = field(default=None, repr=False)
    consent: ConsentRecord | None = None


def write_voice_prompt(voice: ClonedVoice, model: PromptModel) -> bytes:
    """Serialise a voice that was cloned with `model`."""
    tensors: dict[str, NDArray[Any]] = {"speaker_embedding": voice.speaker_embedding}
    metadata = {
        "format_version": FORMAT_VERSION,
        "model_id": model.model_id,
        "revision": model.revision or "",
        "dimension": str(model.dimension),
        "mode": _X_VECTOR if voice.codes is None else _IN_CONTEXT,
    }
    if voice.codes is not None:
        tensors["codes"] = np.ascontiguousarray(voice.codes)
        metadata["transcript"] = voice.transcript or ""
    if voice.consent is not None:
        metadata["consent_attested_by"] = str(voice.consent.attested_by)
        metadata["consent_attested_at"] = voice.consent.attested_at.isoformat()
        metadata["consent_statement_version"] = voice.consent.statement_version
    return save(tensors, metadata)


def read_voice_prompt(data: bytes, model: PromptModel) -> ClonedVoice:
    """Read and check a voice prompt that will be used with `model`.

    Raises `VoicePromptModelMismatchError` if it was made for another model, so that the caller can
    rebuild it, and `VoicePromptInvalidError` for any other problem.
    """
    tensors, metadata = _parse(data)
    _require(metadata.get("format_version") == FORMAT_VERSION, "its format is not known")
    _check_model(metadata, model)
    mode = metadata.get("mode")
    _require(mode in {_IN_CONTEXT, _X_VECTOR}, "its mode is not known")
    names = {"speaker_embedding", "codes"} if mode == _IN_CONTEXT else {"speaker_embedding"}
    _require(tensors.keys() == names, "it holds other tensors than its mode needs")
    return ClonedVoice(
        speaker_embedding=_speaker_embedding(tensors["speaker_embedding"], model),
        codes=_codes(tensors["codes"], model) if mode == _IN_CONTEXT else None,
        transcript=_transcript(metadata) if mode == _IN_CONTEXT else None,
        consent=_consent(metadata),
    )


def _require(condition: bool, problem: str) -> None:
    if not condition:
        raise VoicePromptInvalidError(problem)


def _parse(data: bytes) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Split the bytes into tensors and metadata."""
    _require(len(data) <= MAX_PROMPT_BYTES, "it is too large")
    try:
        tensors = load(data)
        # `safetensors` reads metadata only from files on disk. `load` has accepted this header, so
        # the metadata, if there is any, maps strings to strings.
        header_end = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "little")
        metadata = json.loads(data[_LENGTH_BYTES:header_end]).get("__metadata__") or {}
    except (SafetensorError, KeyError, ValueError) as error:  # KeyError: a dtype unknown to numpy
        raise VoicePromptInvalidError("it is not a safetensors file") from error
    return tensors, metadata


def _check_model(metadata: dict[str, str], model: PromptModel) -> None:
    made_for = metadata.get("model_id", "an unnamed model")
    if made_for != model.model_id:
        raise VoicePromptModelMismatchError(made_for, model.model_id)
    is_same = (metadata.get("revision") or None) == model.revision
    if not is_same or metadata.get("dimension") != str(model.dimension):
        raise VoicePromptModelMismatchError(f"other weights of {made_for}", model.model_id)


def _speaker_embedding(tensor: NDArray[Any], model: PromptModel) -> NDArray[np.float32]:
    _require(tensor.dtype == np.float32, "its speaker embedding is not float32")
    _require(tensor.shape == (model.dimension,), "its speaker embedding has another length")
    _require(bool(np.isfinite(tensor).all()), "its speaker embedding is not finite")
    return tensor


def _codes(tensor: NDArray[Any], model: PromptModel) -> NDArray[np.int16]:
    _require(tensor.dtype == np.int16, "its codes are not int16")
    _require(tensor.shape[1:] == (model.code_groups,), "its codes have another shape")
    _require(1 <= len(tensor) <= MAX_CODEC_FRAMES, "its reference is empty or too long")
    in_range = (tensor >= 0) & (tensor < model.codebook_size)
    _require(bool(in_range.all()), "its codes are out of range")
    return tensor


def _transcript(metadata: dict[str, str]) -> str:
    transcript = metadata.get("transcript", "")
    _require(bool(transcript.strip()), "its transcript is missing")
    _require(len(transcript) <= MAX_TRANSCRIPT_CHARACTERS, "its transcript is too long")
    return transcript


def _consent(metadata: dict[str, str]) -> ConsentRecord | None:
    attested_by = metadata.get("consent_attested_by")
    if attested_by is None:
        return None
    try:
        record = {
            "attested_by": int(attested_by),
            "attested_at": metadata["consent_attested_at"],
            "statement_version": metadata["consent_statement_version"],
        }
        return read_consent(record, is_required=True)
    except (KeyError, ValueError, ConsentMissingError) as error:
        raise VoicePromptInvalidError("its consent record is damaged") from error
