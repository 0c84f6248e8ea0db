"""Matrix products with the weights of linear layers, for a handful of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

_WORTH_SPLITTING = 2**18
"""A matrix with this many numbers is worth a second thread."""


class Projection:
    """Linear layers of the same input as one matrix product.

    With a handful of rows, most of the time goes into reading the weights. On a CPU with several
    threads, each thread computes a part of the outputs here. In torch's own product of few rows,
    two threads read the weights hardly faster than one (`docs/performance.md`).

    Args:
        weight: `(inputs, outputs)`, the transpose of a contiguous tensor.
        bias: `(outputs,)`, or None.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self._weight = weight
        self._bias = bias
        self._parts: Tensor | None = None
        self._bias_parts: Tensor | None = None
        if (parts := _number_of_parts(weight)) > 1:
            shape = (parts, weight.shape[1] // parts, weight.shape[0])
            self._parts = weight.t().view(shape).transpose(1, 2)  # (parts, inputs, outputs / parts)
            self._bias_parts = None if bias is None else bias.view(parts, 1, -1)

    @classmethod
    @torch.no_grad()
    def of(cls, *linears: Any) -> Projection:
        """Concatenate the package's linear layers. Their weights become views of the new matrix."""
        weight = linears[0].weight
        if len(linears) > 1:
            weight = torch.cat([each.weight for each in linears])
            sizes = [each.out_features for each in linears]
            for each, part in zip(linears, torch.split(weight, sizes), strict=True):
                each.weight = nn.Parameter(part, requires_grad=False)
        biases = [each.bias for each in linears if each.bias is not None]
        return cls(weight.t(), torch.cat(biases) if biases else None)

    def __call__(self, hidden: Tensor) -> Tensor:
        """Project `(n, inputs)` to `(n, outputs)`."""
        if self._parts is None:
            # The overhead of `functional.linear` would be as long as a small product.
            if self._bias is None:
                return torch.mm(hidden, self._weight)
            return torch.addmm(self._bias, hidden, self._weight)
        repeated = hidden.expand(len(self._parts), -1, -1)
        if self._bias_parts is None:
            projected = torch.bmm(repeated, self._parts)
        else:
            projected = torch.baddbmm(self._bias_parts, repeated, self._parts)
        return projected.transpose(0, 1).flatten(1)

    def add_to(self, hidden: Tensor, inputs: Tensor) -> Tensor:
        """Return `hidden`, which may be overwritten, with the projection of `inputs` added."""
        if hidden.is_cuda and self._bias is None:  # there, the product can add to it
            return hidden.addmm_(inputs, self._weight)
        return hidden + self(inputs)


def _number_of_parts(weight: Tensor) -> int:
    """Return how many parts to split the outputs into: at most one for each thread, all equal."""
    is_measured = weight.device.type == "cpu" and weight.dtype == torch.float32
    if not is_measured or weight.numel() < _WORTH_SPLITTING:
        return 1
    threads = range(torch.get_num_threads(), 0, -1)
    return next(each for each in threads if weight.shape[1] % each == 0)
