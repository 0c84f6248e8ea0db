"""Linear layers for a handful of rows, whose time goes into reading the weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

_WORTH_SPLITTING = 2**18
"""A matrix of so many numbers is worth a second thread."""


class Projection:
    """Linear layers of the same input as one matrix product.

    On a CPU with several threads, each of them makes a part of the outputs: torch's own product of
    few rows reads hardly faster with two threads than with one (`docs/performance.md`).

    Args:
        weight: `(inputs, outputs)`, the transpose of a contiguous tensor.
        bias: `(outputs,)`, or None.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        self._weight = weight
        self._bias = bias
        parts = _number_of_parts(weight)
        shape = (parts, weight.shape[1] // parts, weight.shape[0])
        self._parts = None if parts == 1 else weight.t().view(shape).transpose(1, 2)
        self._bias_parts = None if bias is None else bias.view(parts, 1, -1)

    @classmethod
    @torch.no_grad()
    def of(cls, *linears: Any) -> Projection:
        """Join the package's linear layers, whose weights become views of the joint one."""
        weight = linears[0].weight
        if len(linears) > 1:
            weight = torch.cat([each.weight for each in linears])
            sizes = [each.out_features for each in linears]
            for each, part in zip(linears, torch.split(weight, sizes), strict=True):
                each.weight = nn.Parameter(part, requires_grad=False)
        biases = [each.bias for each in linears if each.bias is not None]
        return cls(weight.t(), torch.cat(biases) if biases else None)

    def __call__(self, state: torch.Tensor) -> torch.Tensor:
        """Project `(n, inputs)` to `(n, outputs)`."""
        if self._parts is not None:
            return self._in_parts(state, self._parts)
        # Not `functional.linear`, which spends as long on its way to this as a small product takes.
        if self._bias is None:
            return torch.mm(state, self._weight)
        return torch.addmm(self._bias, state, self._weight)

    def _in_parts(self, state: torch.Tensor, parts: torch.Tensor) -> torch.Tensor:
        """Multiply with each part of the outputs, `(parts, inputs, outputs / parts)`, at once."""
        states = state.expand(len(parts), -1, -1)
        if self._bias_parts is None:
            projected = torch.bmm(states, parts)
        else:
            projected = torch.baddbmm(self._bias_parts, states, parts)
        return projected.transpose(0, 1).flatten(1)


def _number_of_parts(weight: torch.Tensor) -> int:
    """Say into how many parts its outputs are split: as many as there are threads, if possible."""
    is_measured = weight.device.type == "cpu" and weight.dtype == torch.float32
    if not is_measured or weight.numel() < _WORTH_SPLITTING:
        return 1
    threads = range(torch.get_num_threads(), 0, -1)
    return next(each for each in threads if weight.shape[1] % each == 0)
