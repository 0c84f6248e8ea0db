"""The checkpoints that the decode loop is measured on, and what is measured on each.

With these weights the end of speech is never sampled, so that both sides generate exactly the
requested number of frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from tests.support.miniature import build_miniature

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_ENDLESS = {"end_of_speech_scale": 0.0}

_MINIATURE = {**_ENDLESS, "talker_layers": 4, "predictor_layers": 5}
"""The code predictor has as many layers as in the published checkpoints."""

_TRUE_SHAPE = {
    **_ENDLESS,
    "hidden_size": 1_024,
    "text_hidden_size": 2_048,
    "talker_layers": 28,
    "talker_heads": 16,
    "talker_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 3_072,
    "predictor_hidden_size": 1_024,
    "predictor_layers": 5,
    "predictor_heads": 16,
    "predictor_key_value_heads": 8,
    "predictor_intermediate_size": 3_072,
    "codebook_size": 2_048,
    "codec_hidden_size": 512,
    "codec_layers": 8,
    "codec_heads": 16,
    "codec_head_dim": 64,
    "codec_codebook_dim": 512,
    "codec_latent_size": 1_024,
    "codec_sliding_window": 72,
    "decoder_channels": 1_536,
}
"""Talker, code predictor and codec decoder of Qwen3-TTS-12Hz-0.6B-Base, by its config.json. Modules
that a frame does not use are those of the miniature: the text embedding, with 273 tokens instead of
151,936, and the codec's encoder."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured on a checkpoint.

    Attributes:
        sizes: The arguments of `build_miniature`; None for an existing folder.
        threads: The number of torch's threads; None for torch's default.
        reference_seconds: The length of the reference clip.
        frames: The number of frames of each request.
        repeats: How often each measurement is repeated.
        codec_seconds: The lengths of speech to decode with the codec.
        codec_repeats: How often each of these is repeated.
        one_pass_seconds: The longest of these lengths that is also decoded in one pass. One pass
            needs 0.2 GB of memory for each second with the published codec.
        has_callers: Whether several simultaneous callers are measured.
        has_limit: Whether the speed is compared with the memory bandwidth.
        has_formats: Whether each format of weights is measured, on a processor.
    """

    sizes: Mapping[str, Any] | None
    threads: int | None
    reference_seconds: float
    frames: int
    repeats: int
    codec_seconds: tuple[int, ...]
    codec_repeats: int
    one_pass_seconds: int
    has_callers: bool
    has_limit: bool
    has_formats: bool


PLANS = {
    "miniature": Plan(
        sizes=_MINIATURE,
        threads=1,
        reference_seconds=10.0,
        frames=48,
        repeats=5,
        codec_seconds=(5, 20, 60),
        codec_repeats=9,
        one_pass_seconds=60,
        has_callers=True,
        has_limit=False,
        has_formats=False,
    ),
    "true-shape": Plan(
        sizes=_TRUE_SHAPE,
        threads=2,
        reference_seconds=3.0,
        frames=16,
        repeats=3,
        codec_seconds=(5, 20, 60),
        codec_repeats=1,
        one_pass_seconds=5,
        has_callers=False,
        has_limit=True,
        has_formats=True,
    ),
}

_FOLDER = Plan(
    sizes=None,
    threads=None,
    reference_seconds=10.0,
    frames=48,
    repeats=3,
    codec_seconds=(5, 20, 60),
    codec_repeats=1,
    one_pass_seconds=20,
    has_callers=True,
    has_limit=True,
    has_formats=True,
)


def plan_for(model: str) -> Plan:
    """Return the plan for a model: a name of `PLANS`, or a checkpoint's folder."""
    return PLANS.get(model, _FOLDER)


def prepare(model: str, folder: Path) -> str:
    """Set torch's threads, and build the model in `folder` if needed; return its checkpoint."""
    plan = plan_for(model)
    if plan.threads is not None:
        torch.set_num_threads(plan.threads)
    if plan.sizes is None:
        return model
    return str(build_miniature(folder / model, **plan.sizes))
