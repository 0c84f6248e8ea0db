"""Computes how fast a machine could generate frames if it only had to read the weights.

A single request does one or two multiplications with each weight that it reads. So memory bandwidth
limits its speed: a frame takes at least the bytes that it reads, divided by the bandwidth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from qwen_tts.core.models.configuration_qwen3_tts import Qwen3TTSTalkerConfig
from qwen_tts.core.models.modeling_qwen3_tts import Qwen3TTSTalkerForConditionalGeneration

from backend.weights.checkpoints import choose_number_format

FRAME_MILLISECONDS = 80.0
"""The length of the speech in a frame."""

_MILLISECONDS = 1_000
_GIGA = 1e9


@dataclass(frozen=True, slots=True)
class Part:
    """Weights that a frame reads.

    Attributes:
        name: The name in the report.
        times: How often a frame reads them.
        size: Their size in bytes.
    """

    name: str
    times: int
    size: int

    @property
    def bytes_per_frame(self) -> int:
        """The bytes that a frame reads of them."""
        return self.times * self.size


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU, with the numbers of its data sheet.

    Attributes:
        name: Its usual name.
        gigabytes_per_second: Its memory bandwidth.
        compute_capability: Its CUDA compute capability.
    """

    name: str
    gigabytes_per_second: float
    compute_capability: tuple[int, int]


GPUS = (
    Gpu("T4", 320, (7, 5)),
    Gpu("L4", 300, (8, 9)),
    Gpu("A10", 600, (8, 6)),
    Gpu("L40S", 864, (8, 9)),
    Gpu("H100", 3_350, (9, 0)),
)

_LAYERS = {
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "num_code_groups": 16,
    "text_vocab_size": 1,  # a frame does not read it
    "code_predictor_config": {"head_dim": 128, "num_code_groups": 16},
}
PUBLISHED = {
    "0.6B": {**_LAYERS, "hidden_size": 1_024, "intermediate_size": 3_072},
    "1.7B": {**_LAYERS, "hidden_size": 2_048, "intermediate_size": 6_144},
}
"""The talkers of the published checkpoints, where they differ from the package's defaults."""


def parts_of(talker: Any, bytes_per_number: int | None = None) -> list[Part]:
    """List the weights that each frame reads.

    The embeddings are left out, because a frame reads only a few of their rows. So is the KV cache:
    with the published sizes and 300 positions it has a hundredth of the bytes of the weights.

    Args:
        talker: The package's `Qwen3TTSTalkerForConditionalGeneration`.
        bytes_per_number: None for the dtype that it is loaded with.
    """
    predictor = talker.code_predictor
    steps = len(predictor.lm_head)

    def part(name: str, times: int, *modules: torch.nn.Module) -> Part:
        weights = [weight for module in modules for weight in module.parameters()]
        size = sum(each.numel() * (bytes_per_number or each.element_size()) for each in weights)
        return Part(name, times, size)

    parts = [
        part("talker", 1, talker.model.layers, talker.model.norm),
        part("its head", 1, talker.codec_head),
        part("projection to the code predictor", steps, predictor.small_to_mtp_projection),
        part("code predictor", steps, predictor.model.layers, predictor.model.norm),
        part("its heads, each once", 1, predictor.lm_head),
    ]
    return [each for each in parts if each.size]


def published_talker(name: str) -> Any:
    """Return the modules of a published checkpoint, without weights."""
    with torch.device("meta"):
        return Qwen3TTSTalkerForConditionalGeneration(Qwen3TTSTalkerConfig(**PUBLISHED[name]))


def gpu_limits() -> list[dict[str, Any]]:
    """Compute the least time for a frame of one request, for every GPU and checkpoint."""
    limits = []
    for name in PUBLISHED:
        talker = published_talker(name)
        for gpu in GPUS:
            dtype = choose_number_format(gpu.compute_capability).dtype
            size = sum(
                part.bytes_per_frame for part in parts_of(talker, getattr(torch, dtype).itemsize)
            )
            milliseconds = size / (gpu.gigabytes_per_second * _GIGA) * _MILLISECONDS
            limits.append(
                {
                    "checkpoint": name,
                    "gpu": gpu.name,
                    "dtype": dtype,
                    "gigabytes_per_frame": size / _GIGA,
                    "milliseconds_per_frame": milliseconds,
                    "times_real_time": FRAME_MILLISECONDS / milliseconds,
                }
            )
    return limits
