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

_TRIALS = 12
_TRIAL_SIZE = (2_048, 1_024)
"""Outputs and inputs of the matrices that are tried; the published models' have 1 to 12 million."""

_TRIAL_BYTES = 24_000_000  # in all, so that they don't stay in a cache
_PROMPT_ROWS, _FRAMES = 128, 48
"""A usual sentence: the positions of its prompt, which are rows of one product, and its frames.
Each frame takes a product of one row."""

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
    """Return what makes the matrices of a format with the kernel that is the fastest here.

    That is the one that takes the least time for a usual sentence, not for each number of rows: to
    have the fastest for each, every matrix would be kept twice.
    """
    if weights is WeightFormat.FLOAT32:
        return Float32Matrix
    if weights is WeightFormat.BFLOAT16:
        return _fastest({"float16": HalfMatrix, "bfloat16": RoundedMatrix})
    return _fastest({"split": SplitInt8Matrix, "bfloat16": _int8_kind()})


def _int8_kind() -> Kind:
    """Return how torch's int8 kernel is used: from how many rows on a matrix is unpacked."""
    weight = _noise(_TRIAL_SIZE)
    try:
        packed, unpacked = [Int8Matrix(weight)], [Int8Matrix(weight, many=0)]
        for rows in (2, 4, 8, _PROMPT_ROWS):
            of_packed, of_unpacked = _seconds([packed, unpacked], rows)
            if of_packed > of_unpacked * _CLEARLY:
                return partial(Int8Matrix, many=rows)
    except LACKING:
        pass  # whoever makes a matrix finds out
    return Int8Matrix


def _fastest(kinds: dict[str, Kind]) -> Kind:
    """Return the first kind that works here, or the second if a sentence takes clearly less.

    If only one works, it is taken. Raises what the second one raises if none works.
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
    frame = _seconds([matrices, others], 1)
    prompt = _seconds([matrices[:1], others[:1]], _PROMPT_ROWS)
    of_first, of_second = (
        _FRAMES * each + of_prompt for each, of_prompt in zip(frame, prompt, strict=True)
    )
    return second if of_first > of_second * _CLEARLY else first


def _seconds(contestants: Sequence[Sequence[PackedMatrix]], rows: int) -> list[float]:
    """Return how long one product of so many rows takes with the matrices of each contestant.

    Each time is the least of several, which alternate: other programs may be running.
    """
    inputs = _noise((rows, _TRIAL_SIZE[1]))
    least = [math.inf] * len(contestants)
    for _ in range(_TRIALS):
        for number, matrices in enumerate(contestants):
            for matrix in matrices:
                began = time.perf_counter()
                matrix.product(inputs)
                least[number] = min(least[number], time.perf_counter() - began)
    return least


def _check(matrix: PackedMatrix, weight: Tensor) -> None:
    """Raise ValueError if a kernel computes something else than products."""
    inputs = _noise((3, weight.shape[1]))
    expected = inputs @ weight.t()
    error = (matrix.product(inputs) - expected).norm() / expected.norm()
    if not float(error) < _MOST_ERROR:
        raise ValueError("the kernel computes no products")


def _noise(shape: tuple[int, int]) -> Tensor:
    """Return float32 noise, without the state of torch's own generator."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))
