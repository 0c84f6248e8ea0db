"""Packs the package's linear layers for products on a processor, with its fastest kernel."""

from __future__ import annotations

import logging
import math
import time
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from backend.engine.freed_memory import give_back_freed_memory
from backend.engine.packed.matrices import (
    Float32Matrix,
    HalfMatrix,
    Int8Matrix,
    RoundedMatrix,
    SplitInt8Matrix,
)
from backend.weights.formats import WeightFormat

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from backend.engine.packed.matrices import PackedMatrix

    Kind = Callable[[Tensor], PackedMatrix]

log = logging.getLogger(__name__)

_TRIALS = 5
_TRIAL_SIZE = (2_048, 1_024)
"""Outputs and inputs of the matrices that are tried; the published models' have 1 to 12 million."""

_TRIAL_BYTES = 24_000_000  # in all, so that they don't stay in a cache
_MANY_ROWS = (8, 64)
"""Rows of a batch, and of a prompt."""

LACKING = (AttributeError, NotImplementedError, RuntimeError, ValueError)
"""What is raised where torch or the processor lacks a kernel, or it computes nonsense."""

_MOST_ERROR = 0.05
"""A kernel that works is a hundredth off at the most, with noise for weights and inputs."""

_CLEARLY = 1.15  # times that differ by less are alike


class PackedProjection:
    """Linear layers of the same input as one packed matrix, perhaps with the norm before them.

    Args:
        matrix: The matrix. The norm's weights are a part of it.
        bias: float32 `(outputs,)`, or None.
        floor: What the length of a row is joined with before the row is divided by it: the norm's
            epsilon, as a length. None without a norm.

    Attributes:
        matrix: As given.
        bias: As given.
        floor: As given.
    """

    def __init__(self, matrix: PackedMatrix, bias: Tensor | None, floor: Tensor | None) -> None:
        self.matrix = matrix
        self.bias = bias
        self.floor = floor

    def __call__(self, hidden: Tensor) -> Tensor:
        """Project float32 `(n, inputs)` to `(n, outputs)`, which the caller may overwrite."""
        if self.floor is None:
            projected = self.matrix.product(hidden)
        else:
            norms = torch.linalg.vector_norm(hidden, dim=-1, keepdim=True).hypot_(self.floor)
            projected = self.matrix.quotient(hidden, norms)
        return projected if self.bias is None else projected.add_(self.bias)


class Packer:
    """Packs linear layers in one format.

    Making the first one of a format takes some tenths of a second: it measures which kernel is the
    fastest. All of a process use the same one, so what was checked is what speaks.

    Args:
        weights: The format.

    Attributes:
        weights: As given.
    """

    def __init__(self, weights: WeightFormat) -> None:
        self.weights = weights
        self._kind = fastest_kind(weights)

    @torch.inference_mode()
    def pack(
        self,
        *linears: Any,
        norm: Any = None,
        order: Tensor | None = None,
        frees: bool = True,
    ) -> PackedProjection:
        """Pack the package's linear layers as one.

        Args:
            linears: The layers, with the same inputs.
            norm: The package's norm, whose results are their inputs; the norm's weights are
                multiplied with theirs.
            order: int64 `(outputs,)`, which output is computed where; None keeps the order.
            frees: Whether the layers' own weights are given up. They can't be called then, and the
                shapes of their weights are all that is left.
        """
        weight = torch.cat([each.weight.float() for each in linears])
        floor = None
        if norm is not None:
            width = weight.shape[1]
            # A row divided by its length, times the root of its width, has a mean square of one.
            weight *= norm.weight.float() * math.sqrt(width)
            floor = torch.tensor(math.sqrt(width * norm.variance_epsilon))
        if order is not None:
            weight = weight[order]
        biases = [each.bias.float() for each in linears if each.bias is not None]
        bias = torch.cat(biases) if biases else None
        if bias is not None and order is not None:
            bias = bias[order]
        if frees:
            for each in linears:
                each.weight = nn.Parameter(each.weight.to("meta"), requires_grad=False)
        projection = PackedProjection(self._kind(weight), bias, floor)
        if frees:
            del weight
            give_back_freed_memory()  # or loading takes twice as much as the packed weights
        return projection


@cache
@torch.inference_mode()
def fastest_kind(weights: WeightFormat) -> Kind:
    """Return what makes the matrices of a format with the kernel that is the fastest here."""
    if weights is WeightFormat.FLOAT32:
        return Float32Matrix
    if weights is WeightFormat.BFLOAT16:
        return _fastest({"float16": HalfMatrix, "bfloat16": RoundedMatrix})
    kind = _fastest({"split": SplitInt8Matrix, "bfloat16": Int8Matrix})
    return _int8_kind() if kind is Int8Matrix else kind


def _int8_kind() -> Kind:
    """Return how torch's int8 kernel is used: from how many rows on a matrix is unpacked."""
    weight = _noise(_TRIAL_SIZE)
    packed, unpacked = [Int8Matrix(weight)], [Int8Matrix(weight, many=0)]
    for rows in (2, 4, *_MANY_ROWS):
        if _is_slower(packed, unpacked, rows):
            return partial(Int8Matrix, many=rows)
    return Int8Matrix


def _fastest(kinds: dict[str, Kind]) -> Kind:
    """Return the first kind that works here, or the second if that is clearly faster for one row.

    The first one is not taken either where products of many rows take longer than bfloat16's. If
    only one works, it is taken. Raises what the second one raises if none works.
    """
    weight = _noise(_TRIAL_SIZE)
    (name, first), (_, second) = kinds.items()
    try:
        matrices = [first(weight) for _ in range(_TRIAL_BYTES // weight.numel())]
        _check(matrices[0], weight)
    except LACKING as error:
        log.info("the %s kernel does not work here (%s)", name, type(error).__name__)
        return second
    try:
        others = [second(weight) for _ in matrices]
        _check(others[0], weight)
    except LACKING:
        return first
    trials: list[tuple[int, Sequence[PackedMatrix], Sequence[PackedMatrix]]]
    trials = [(1, matrices, others)]
    rounded = [RoundedMatrix(weight)]
    trials += [(rows, matrices[:1], rounded) for rows in _MANY_ROWS]
    is_slower = any(_is_slower(of_first, of_other, rows) for rows, of_first, of_other in trials)
    return second if is_slower else first


def _is_slower(some: Sequence[PackedMatrix], others: Sequence[PackedMatrix], rows: int) -> bool:
    """Return whether products with some matrices are clearly slower than with others.

    Each time is the least of several, which alternate: other programs may be running.
    """
    inputs = _noise((rows, _TRIAL_SIZE[1]))
    least = [math.inf, math.inf]
    for _ in range(_TRIALS):
        for number, matrices in enumerate((some, others)):
            least[number] = min([least[number], *(_seconds(each, inputs) for each in matrices)])
    return least[0] > least[1] * _CLEARLY


def _check(matrix: PackedMatrix, weight: Tensor) -> None:
    """Raise ValueError if a kernel computes something else than products."""
    inputs = _noise((3, weight.shape[1]))
    expected = inputs @ weight.t()
    error = (matrix.product(inputs) - expected).norm() / expected.norm()
    if not float(error) < _MOST_ERROR:
        raise ValueError("the kernel computes no products")


def _seconds(matrix: PackedMatrix, inputs: Tensor) -> float:
    began = time.perf_counter()
    matrix.product(inputs)
    return time.perf_counter() - began


def _noise(shape: tuple[int, int]) -> Tensor:
    """Return float32 noise, without the state of torch's own generator."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))
