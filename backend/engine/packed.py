"""Matrices that are packed for products of few rows on a processor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch
from torch.nn import functional

from backend.weights.formats import WeightFormat

if TYPE_CHECKING:
    from torch import Tensor

_LARGEST = 127
"""Weights are scaled to whole numbers from -127 to 127."""


class PackedMatrix(Protocol):
    """A matrix of one of the formats."""

    def product(self, inputs: Tensor) -> Tensor:
        """Multiply bfloat16 `(n, inputs)`; return bfloat16 `(n, outputs)`."""
        ...


class RoundedMatrix:
    """A matrix in bfloat16.

    Args:
        weights: `(outputs, inputs)` each, of floating-point numbers.
    """

    def __init__(self, *weights: Tensor) -> None:
        self._weight = torch.cat([each.bfloat16() for each in weights])

    def product(self, inputs: Tensor) -> Tensor:
        """As `PackedMatrix.product`."""
        return functional.linear(inputs, self._weight)


class Int8Matrix:
    """A matrix of whole numbers from -127 to 127, with a scale for each output.

    Args:
        weights: As for `RoundedMatrix`.
    """

    def __init__(self, *weights: Tensor) -> None:
        packed, scales = zip(*(_packed(each) for each in weights), strict=True)
        self._weight = torch.cat(packed)
        self._scales = torch.cat(scales)

    def product(self, inputs: Tensor) -> Tensor:
        """As `PackedMatrix.product`."""
        return torch._weight_int8pack_mm(inputs, self._weight, self._scales)  # noqa: SLF001


def pack(weights: WeightFormat, *matrices: Tensor) -> PackedMatrix:
    """Pack matrices with the same inputs as one."""
    return Int8Matrix(*matrices) if weights is WeightFormat.INT8 else RoundedMatrix(*matrices)


def _packed(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return a matrix as int8, and the bfloat16 scales of its outputs."""
    scales = (weight.abs().amax(dim=1).float() / _LARGEST).clamp(min=1e-30).bfloat16()
    scaled = weight.float().div(scales.float().unsqueeze(1)).round_()
    return scaled.clamp_(-_LARGEST, _LARGEST).to(torch.int8), scales
