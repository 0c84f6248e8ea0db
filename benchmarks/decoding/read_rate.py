"""Measures how fast this machine reads from memory, with torch's threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from backend.engine.projection import Projection
from benchmarks.measuring import seconds_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_READ_BYTES = 2**30
"""Far larger than any cache."""

_ATTEMPTS = 7
_GIGA = 1e9


@torch.inference_mode()
def read_rates(talker: Any) -> dict[str, float]:
    """Measure the gigabytes that are read in a second: the best of several attempts.

    Args:
        talker: The talker whose matrices, and those of its code predictor, are multiplied.

    Returns:
        "sum" and "max" read a gigabyte of numbers. "linear" and "matvec" multiply every matrix with
        one vector: "linear" with torch's own product, "matvec" with a part of the outputs in each
        thread.
    """
    numbers = torch.ones(_READ_BYTES // 4, device=talker.device)
    matrices = [
        weight
        for layers in (talker.model.layers, talker.code_predictor.model.layers)
        for weight in layers.parameters()
        if weight.dim() == 2  # noqa: PLR2004 - a matrix
    ]
    in_parts = [Projection(weight.t(), None) for weight in matrices]
    vectors = [weight.new_ones(1, weight.shape[1]) for weight in matrices]

    def multiply() -> None:
        for weight, vector in zip(matrices, vectors, strict=True):
            product = functional.linear(vector, weight)
        product.sum().item()

    def multiply_parts() -> None:
        for project, vector in zip(in_parts, vectors, strict=True):
            product = project(vector)
        product.sum().item()

    return {
        "sum": _rate(lambda: numbers.sum().item(), [numbers]),
        "max": _rate(lambda: numbers.max().item(), [numbers]),
        "linear": _rate(multiply, matrices),
        "matvec": _rate(multiply_parts, matrices),
    }


def _rate(read: Callable[[], object], tensors: Sequence[torch.Tensor]) -> float:
    seconds = min(seconds_of(read) for _ in range(_ATTEMPTS))
    return sum(each.nbytes for each in tensors) / seconds / _GIGA
