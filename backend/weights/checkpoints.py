"""The checkpoints that Timbre speaks with, and the GPU and number format that suit each.

Needs only the standard library: the machine that deploys has no torch.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backend.weights.formats import WeightChoice

DEFAULT_MODEL_ID = "Qwen/Qwen3-TTS-12Hz-1.7B-Base"
SMALL_MODEL_ID = "Qwen/Qwen3-TTS-12Hz-0.6B-Base"

_NATIVE_BFLOAT16 = (8, 0)  # CUDA compute capability of Ampere, the first generation that has it
_NO_INT8 = "int8 is for processors"
_SAMPLES = 64  # spread over each file: reading gigabytes in full takes too long
_SAMPLE_BYTES = 1 << 16
_LARGE_BYTES = 3_000_000_000  # between the sizes of the published checkpoints, both in bfloat16


class UnknownModelError(ValueError):
    """`MODEL_ID` names neither a known checkpoint nor a folder that holds one."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A speech model's weights.

    Attributes:
        model_id: Names the weights. Voice prompts are tied to it.
        label: The name for people.
        gpus: The GPUs that suit it, by Modal's names, the first choice first.
        revision: The commit of the hub's repository that it is pinned to; None for a folder.
        folder: The folder with the weights; None if they come from the hub under `model_id`.
    """

    model_id: str
    label: str
    gpus: tuple[str, ...]
    revision: str | None = None
    folder: Path | None = None


PUBLISHED = (
    Checkpoint(
        DEFAULT_MODEL_ID, "Qwen3-TTS 1.7B", ("A10G",), "fd4b254389122332181a7c3db7f27e918eec64e3"
    ),
    Checkpoint(
        SMALL_MODEL_ID, "Qwen3-TTS 0.6B", ("T4",), "5d83992436eae1d760afd27aff78a71d676296fc"
    ),
)

TRANSCRIBERS = {
    "mobiuslabsgmbh/faster-whisper-large-v3-turbo": "0a363e9161cbc7ed1431c9597a8ceaf0c4f78fcf",
    "Systran/faster-whisper-base": "ebe41f70d5b6dfa9166e2c581c45c9c0cfc57b66",
}
"""The commits of the repositories of the transcribers that are used by default, on a GPU and on a
CPU. Any other is taken at its latest commit."""


def find_checkpoint(model_id: str) -> Checkpoint:
    """Find what `MODEL_ID` names: a published checkpoint, or a folder that holds one.

    The model id of a folder is its name and a fingerprint of its weights. So a voice prompt that
    was made with other weights in a folder of the same name is noticed. The GPU for it is chosen by
    the size of the weights.

    Raises `UnknownModelError` if it is neither.
    """
    for checkpoint in PUBLISHED:
        if checkpoint.model_id == model_id:
            return checkpoint
    with suppress(OSError, RuntimeError, ValueError):  # such as a path that is too long
        folder = Path(model_id).expanduser().resolve()
        if (folder / "config.json").is_file():
            return _local_checkpoint(folder)
    known = " or ".join(checkpoint.model_id for checkpoint in PUBLISHED)
    raise UnknownModelError(f"MODEL_ID must be {known}, or a folder that holds a checkpoint")


def label_of(repo_id: str) -> str:
    """What people call a repository's model: "Qwen3-TTS 0.6B", "Whisper base"."""
    labels = {checkpoint.model_id: checkpoint.label for checkpoint in PUBLISHED}
    name = repo_id.rpartition("/")[-1].replace("faster-whisper-", "Whisper ")
    return labels.get(repo_id, name)


@dataclass(frozen=True, slots=True)
class NumberFormat:
    """What the weights of a language model are kept as.

    Attributes:
        dtype: "bfloat16", "float32" or "int8".
        reason: Why, in words for the log.
    """

    dtype: str
    reason: str


def choose_number_format(
    compute_capability: tuple[int, int] | None, weights: WeightChoice = "auto"
) -> NumberFormat:
    """Choose the number format on a GPU, or for the package's own loop on a CPU.

    Neither has int8, and older GPUs have no bfloat16. Then it is the one that suits the device, and
    the reason says so.

    Args:
        compute_capability: Of the CUDA device, or None for the package's loop on a CPU.
        weights: What the operator wants.
    """
    suited = _suited_format(compute_capability)
    has_bfloat16 = compute_capability is None or compute_capability >= _NATIVE_BFLOAT16
    if weights == "float32" or (weights == "bfloat16" and has_bfloat16):
        return NumberFormat(weights, "it was asked for")
    if weights == "int8":
        lacking = "the package's own loop has no int8" if compute_capability is None else _NO_INT8
        return NumberFormat(suited.dtype, f"{lacking}; {suited.reason}")
    return suited


def _suited_format(compute_capability: tuple[int, int] | None) -> NumberFormat:
    if compute_capability is None:
        return NumberFormat("float32", "the package's own loop computes in it on a CPU")
    if compute_capability >= _NATIVE_BFLOAT16:
        return NumberFormat("bfloat16", "the weights were trained in it, and the GPU has it")
    # The T4 (7.5) emulates bfloat16 slowly. It has float16, but activations of models trained in
    # bfloat16 may exceed its largest number, 65,504, and turn into NaN. Its 16 GB hold either
    # checkpoint in float32.
    return NumberFormat("float32", "the GPU lacks bfloat16, and float16 could overflow")


def _local_checkpoint(folder: Path) -> Checkpoint:
    weights = sorted(folder.rglob("*.safetensors"))  # the codec's are in a folder of their own
    sizes = [file.stat().st_size for file in weights]
    fingerprint = hashlib.sha256((folder / "config.json").read_bytes())
    for file, size in zip(weights, sizes, strict=True):
        fingerprint.update(f"{file.relative_to(folder).as_posix()} {size}".encode())
        with file.open("rb") as stream:
            for sample in range(_SAMPLES):
                stream.seek(size * sample // _SAMPLES)
                fingerprint.update(stream.read(_SAMPLE_BYTES))
    model_id = f"{folder.name}@{fingerprint.hexdigest()[:12]}"
    large, small = PUBLISHED
    gpus = (large if sum(sizes) > _LARGE_BYTES else small).gpus
    return Checkpoint(model_id, label=folder.name, gpus=gpus, folder=folder)
