"""A checkpoint in main memory, on its way to a GPU that isn't there yet.

Modal takes a memory snapshot of a container before it has its GPU, and starts later containers from
that: https://modal.com/docs/guide/memory-snapshots. So `stage_model` reads the checkpoint without a
GPU, and `place_model` moves it, once there is one.
"""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from backend.engine.loading import (
    CODEC_DTYPE,
    OUR_ATTENTION,
    describe,
    fix_attention_kernels,
    number_format_on,
    read_checkpoint,
    warn_if_refused,
)

if TYPE_CHECKING:
    from pathlib import Path

    from backend.engine.interface import EngineInfo
    from backend.weights.formats import WeightChoice


@dataclass(frozen=True, slots=True)
class StagedModel:
    """A checkpoint in main memory, in the format in which it is stored.

    Attributes:
        package_model: The package's model.
        model_id: Names its weights.
        revision: The commit of the weights on the hub, if they come from there.
        seconds: How long reading it took.
    """

    package_model: Any
    model_id: str
    revision: str | None
    seconds: float


def stage_model(checkpoint: Path | str, *, model_id: str, revision: str | None) -> StagedModel:
    """Read a checkpoint into main memory.

    Args:
        checkpoint: Its folder, or its id on the hub.
        model_id: Names its weights.
        revision: The commit on the hub, if it comes from there.

    Raises `BackendUnavailableError` if it cannot be loaded or cannot clone voices.
    """
    began = time.monotonic()
    model = read_checkpoint(
        checkpoint,
        CODEC_DTYPE,
        (OUR_ATTENTION,),
        device_map="cpu",
        dtype="auto",
        revision=revision,
    )
    for module in (model.model, model.model.speech_tokenizer.model):
        _copy_out_of_files(module)
    gc.collect()  # such as a codec that was read in another format first
    return StagedModel(model, model_id, revision, time.monotonic() - began)


def place_model(staged: StagedModel, device: str, weights: WeightChoice) -> tuple[Any, EngineInfo]:
    """Move a staged model to its device. Each weight leaves main memory when it has moved.

    Args:
        staged: The model, which can't be placed a second time.
        device: Such as "cuda:0". On "cpu", the weights are not packed.
        weights: What the language model's weights are kept as.

    Returns:
        The package's `Qwen3TTSModel`, and what was loaded, as `load_model` does.
    """
    began = time.monotonic()
    fix_attention_kernels()
    where, model = torch.device(device), staged.package_model
    number_format = number_format_on(where, weights)
    warn_if_refused(weights, number_format)
    codec = model.model.speech_tokenizer
    _move(model.model, where, getattr(torch, number_format.dtype))
    _move(codec.model, where, codec.model.dtype)
    model.device = codec.device = where
    seconds = staged.seconds + time.monotonic() - began
    info = describe(model, number_format, staged.model_id)
    return model, replace(info, revision=staged.revision, load_seconds=seconds)


def _copy_out_of_files(module: torch.nn.Module) -> None:
    """Copy what is only mapped from the checkpoint's files.

    Else a snapshot would hold no weights, and they would be read from the files each time.
    """
    for held in (*module.parameters(), *module.buffers()):
        held.data = held.data.clone()


def _move(module: torch.nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    """Move a module, and convert what is stored of it, one tensor at a time.

    Buffers that no checkpoint has, such as the frequencies of rotary embeddings, are float32 in any
    format.
    """
    moved: dict[torch.nn.Parameter, torch.nn.Parameter] = {}  # a weight may be in several parts
    for part in module.modules():
        for name, weight in part._parameters.items():  # noqa: SLF001 - they have no public name
            if weight is not None:
                if weight not in moved:
                    data = weight.detach().to(device, _as_stored(weight, dtype))
                    moved[weight] = torch.nn.Parameter(data, weight.requires_grad)
                part._parameters[name] = moved[weight]  # noqa: SLF001 - as above
        unstored = part._non_persistent_buffers_set  # noqa: SLF001 - as above
        for name, buffer in part._buffers.items():  # noqa: SLF001 - as above
            if buffer is not None:
                kept_as = buffer.dtype if name in unstored else _as_stored(buffer, dtype)
                part._buffers[name] = buffer.to(device, kept_as)  # noqa: SLF001 - as above


def _as_stored(tensor: torch.Tensor, dtype: torch.dtype) -> torch.dtype:
    return dtype if tensor.is_floating_point() else tensor.dtype
