"""Chooses what a language model's matrices are kept as on a processor."""

from __future__ import annotations

import logging
import math
import time
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch

from backend.engine.packed.check import WORST_ERROR, states_error
from backend.engine.packed.packer import LACKING, Packer
from backend.weights.checkpoints import NumberFormat
from backend.weights.formats import WeightFormat

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backend.engine.packed.stored_matrices import StoredMatrices
    from backend.weights.formats import WeightChoice

log = logging.getLogger(__name__)

_OUTPUTS, _INPUTS = 3_072, 1_024  # of a matrix in the published 0.6B model
_MATRICES, _REPEATS = 4, 5


def choose_weights(
    package_model: Any, matrices: StoredMatrices, wanted: WeightChoice
) -> NumberFormat:
    """Choose the format that is wanted, or the fastest; and another one if it fails its check.

    Args:
        package_model: The package's `Qwen3TTSModel`.
        matrices: Its matrices, none of which is packed yet.
        wanted: What the operator wants.
    """
    reason = "the fastest here" if wanted == "auto" else "it was asked for"
    formats = fastest_first() if wanted == "auto" else _from(WeightFormat(wanted))
    for weights in formats:
        if weights is WeightFormat.FLOAT32:
            break
        try:
            error = states_error(package_model, matrices, Packer(weights))
        except LACKING as lacking:
            trouble = f"this machine can't compute with it ({type(lacking).__name__})"
        else:
            if error <= WORST_ERROR:
                return NumberFormat(weights.value, f"{reason}, and states are off by {error:.1%}")
            trouble = f"states are off by {error:.0%}, and {WORST_ERROR:.0%} is the most"
            if math.isnan(error):
                trouble = "states are not finite"
        log.warning("the weights are not kept as %s: %s. Another format is tried", weights, trouble)
        reason = f"{weights} failed its check"
    return NumberFormat(WeightFormat.FLOAT32.value, reason)


def fastest_first() -> list[WeightFormat]:
    """Return the formats that work on this machine, the fastest first."""
    seconds = {}
    for weights in WeightFormat:
        try:
            seconds[weights] = _seconds(weights)
        except LACKING as lacking:
            log.warning(
                "the weights are not kept as %s: this machine can't compute with it (%s)",
                weights,
                type(lacking).__name__,
            )
    return sorted(seconds, key=seconds.__getitem__)


def _from(weights: WeightFormat | None) -> Iterator[WeightFormat]:
    while weights is not None:
        yield weights
        weights = weights.larger


@cache
@torch.inference_mode()
def _seconds(weights: WeightFormat) -> float:
    """Measure products of one row with matrices of a published size, once in a process."""
    packer = Packer(weights)
    row = torch.ones(1, _INPUTS)
    linear = SimpleNamespace(weight=torch.ones(_OUTPUTS, _INPUTS), bias=None)
    products = [packer.pack(linear, frees=False) for _ in range(_MATRICES)]
    best = math.inf
    for _ in range(_REPEATS):
        began = time.perf_counter()
        for product in products:
            product(row)
        best = min(best, time.perf_counter() - began)
    return best
