"""Matrices that are packed for products on a processor: half precision, or whole numbers.

With few rows, reading a matrix takes nearly all of a product's time. Which kernel reads it fastest
depends on the processor, so `backend.engine.packed.packer` measures them. Inputs and results are
float32 everywhere.
"""

from __future__ import annotations

import copy
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import nn
from torch.nn import functional

from backend.engine.projection import Projection

if TYPE_CHECKING:
    from torch import Tensor

LARGEST = 127
"""Weights are scaled to whole numbers from -127 to 127."""

_STEPS = 64
"""An input is a whole number of 64ths of the largest, and a whole number of 64ths of those."""

_LEAST = 1e-30
"""Stands for the largest of inputs that are all zero."""

_VECTOR = 64
"""torch's int8 kernel takes inputs in vectors, of 16 with AVX2 and of 32 with AVX-512. It reads
beyond the last input. (`aten/src/ATen/native/cpu/int8mm_kernel.cpp` in torch 2.9)"""


class PackedMatrix(Protocol):
    """A matrix, packed for one kernel. It is made from float32 `(outputs, inputs)`."""

    def product(self, inputs: Tensor) -> Tensor:
        """Multiply `(n, inputs)`; return `(n, outputs)`, which the caller may overwrite."""
        ...

    def quotient(self, inputs: Tensor, norms: Tensor) -> Tensor:
        """Multiply inputs after each row is divided by its norm.

        Args:
            inputs: `(n, inputs)`.
            norms: `(n, 1)`, no smaller than any number of the row.
        """
        ...

    def add_product(self, hidden: Tensor, inputs: Tensor) -> object:
        """Add the product to `hidden`, `(n, outputs)`."""
        ...


class Float32Matrix:
    """A matrix in float32. Each thread computes a part of the outputs.

    Args:
        weight: float32 `(outputs, inputs)`.
    """

    def __init__(self, weight: Tensor) -> None:
        self._project = Projection(weight.contiguous().t(), None)

    def product(self, inputs: Tensor) -> Tensor:
        """As `PackedMatrix.product`."""
        return self._project(inputs)

    def quotient(self, inputs: Tensor, norms: Tensor) -> Tensor:
        """As `PackedMatrix.quotient`."""
        return self._project(inputs / norms)

    def add_product(self, hidden: Tensor, inputs: Tensor) -> None:
        """As `PackedMatrix.add_product`."""
        hidden.add_(self._project(inputs))


class HalfMatrix:
    """A matrix in float16, with FBGEMM's kernel, which multiplies float32 inputs.

    It holds weights that were trained in bfloat16 without a rounding, except those below 6e-5.

    Args:
        weight: float32 `(outputs, inputs)`.

    Attributes:
        script: What it computes, as TorchScript.

    Raises ValueError if a weight is larger than float16 holds, and RuntimeError or AttributeError
    if this torch or this processor has no such kernel.
    """

    def __init__(self, weight: Tensor) -> None:
        if not float(weight.abs().amax()) < torch.finfo(torch.float16).max:
            raise ValueError("a weight is too large for float16")
        self.script = _copied(_half_script(), _half_packed(weight))
        self.product = self.script.product
        self.quotient = self.script.quotient
        self.add_product = self.script.add_product


class _HalfProducts(nn.Module):
    """What `HalfMatrix` computes, as TorchScript.

    Called from Python, these kernels take 40 us more for each call, which is as much as a small
    product: torch finds out what a packed matrix is by trying.
    """

    def __init__(self, packed: Any) -> None:
        super().__init__()
        self.packed = packed

    @torch.jit.export
    def product(self, inputs: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = torch.ops.quantized.linear_dynamic_fp16(inputs, self.packed)
        return result

    @torch.jit.export
    def quotient(self, inputs: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
        return self.product(inputs / norms)

    @torch.jit.export
    def add_product(self, hidden: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
        return hidden.add_(self.product(inputs))


class RoundedMatrix:
    """A matrix in bfloat16, with torch's own product of bfloat16 inputs.

    Args:
        weight: float32 `(outputs, inputs)`.
    """

    def __init__(self, weight: Tensor) -> None:
        self._weight = weight.bfloat16()

    def product(self, inputs: Tensor) -> Tensor:
        """As `PackedMatrix.product`."""
        return functional.linear(inputs.bfloat16(), self._weight).float()

    def quotient(self, inputs: Tensor, norms: Tensor) -> Tensor:
        """As `PackedMatrix.quotient`."""
        return self.product(inputs / norms)

    def add_product(self, hidden: Tensor, inputs: Tensor) -> None:
        """As `PackedMatrix.add_product`."""
        hidden.add_(functional.linear(inputs.bfloat16(), self._weight))


class Int8Matrix:
    """A matrix of whole numbers with torch's int8 kernel, which multiplies bfloat16 inputs.

    The kernel is made for few rows. From a number of rows on, the matrix is unpacked, and
    multiplied in bfloat16.

    Args:
        weight: float32 `(outputs, inputs)`.
        many: From how many rows on it is unpacked.

    Raises RuntimeError or AttributeError if this torch has no such kernel.
    """

    def __init__(self, weight: Tensor, many: int = 2**62) -> None:
        scales = scales_of(weight)
        self._scales = scales.bfloat16()
        scaled = weight / self._scales.float().unsqueeze(1)
        self._padding = -weight.shape[1] % _VECTOR
        whole = scaled.round_().clamp_(-LARGEST, LARGEST).to(torch.int8)
        self._weight = functional.pad(whole, (0, self._padding))
        self._many = many
        self._multiply = torch._weight_int8pack_mm  # noqa: SLF001 - it has no public name

    def rounded_product(self, inputs: Tensor) -> Tensor:
        """Multiply bfloat16 `(n, inputs)`, contiguous; return bfloat16 `(n, outputs)`."""
        if self._padding:
            inputs = functional.pad(inputs, (0, self._padding))
        if len(inputs) < self._many:
            return self._multiply(inputs, self._weight, self._scales)
        return functional.linear(inputs, self._weight.bfloat16()).mul_(self._scales)

    def product(self, inputs: Tensor) -> Tensor:
        """As `PackedMatrix.product`."""
        return self.rounded_product(_rounded(inputs)).float()

    def quotient(self, inputs: Tensor, norms: Tensor) -> Tensor:
        """As `PackedMatrix.quotient`."""
        return self.product(inputs / norms)

    def add_product(self, hidden: Tensor, inputs: Tensor) -> None:
        """As `PackedMatrix.add_product`."""
        hidden.add_(self.rounded_product(_rounded(inputs)))


class SplitInt8Matrix:
    """A matrix of whole numbers with FBGEMM's int8 kernel, which multiplies whole numbers only.

    Inputs are divided by the largest of their row, and split in two: whole 64ths of it, and whole
    64ths of the rest. Both are multiplied at once, so the matrix is read once. An input is at most
    1/8,192 of the largest off, which is less than bfloat16 rounds those of a usual row. Sums are
    exact: 128 * 127 * 2, the largest that the kernel adds up in 16 bits, fits.

    Args:
        weight: float32 `(outputs, inputs)`.

    Attributes:
        script: What it computes, as TorchScript.

    Raises RuntimeError or AttributeError if this torch or this processor has no such kernel.
    """

    def __init__(self, weight: Tensor) -> None:
        self.script = _copied(_split_script(), _int8_packed(weight))
        self.product = self.script.product
        self.quotient = self.script.quotient
        self.add_product = self.script.add_product


class _SplitProducts(nn.Module):
    """What `SplitInt8Matrix` computes, as TorchScript: `_HalfProducts` says why."""

    def __init__(self, packed: Any) -> None:
        super().__init__()
        self.packed = packed
        self.steps = _STEPS
        self.shares = torch.tensor([1 / _STEPS, 1 / _STEPS**2]).view(2, 1, 1)
        self.least = torch.tensor(_LEAST)
        self.share = torch.tensor(1 / _STEPS)
        self.nothing = torch.tensor(0.0)

    @torch.jit.export
    def product(self, inputs: torch.Tensor) -> torch.Tensor:
        largest = torch.linalg.vector_norm(inputs, float("inf"), dim=[-1], keepdim=True)
        return self.quotient(inputs, largest).mul_(largest)

    @torch.jit.export
    def quotient(self, inputs: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
        parts = inputs / torch.addcmul(self.least, norms, self.shares)  # (2, n, inputs)
        fine = parts[1]
        fine.sub_(parts[0].floor_(), alpha=self.steps)
        products: torch.Tensor = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(
            parts, 1.0, self.steps, self.packed
        )
        # A norm that is not finite makes the result so: whole numbers can't be NaN.
        share = torch.addcmul(self.share, norms, self.nothing)
        return products[0].addcmul_(products[1], share)

    @torch.jit.export
    def add_product(self, hidden: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
        largest = torch.linalg.vector_norm(inputs, float("inf"), dim=[-1], keepdim=True)
        return hidden.addcmul_(self.quotient(inputs, largest), largest)


def _copied(script: Any, packed: Any) -> Any:
    """Return a copy of the TorchScript, with another packed matrix.

    To copy it takes 0.05 ms, and to compile it 2 to 9 ms.
    """
    script = copy.copy(script)
    script.packed = packed
    return script


@cache
def _half_script() -> Any:
    return torch.jit.script(_HalfProducts(_half_packed(torch.ones(1, 1))))


@cache
def _split_script() -> Any:
    return torch.jit.script(_SplitProducts(_int8_packed(torch.ones(1, 1))))


def _half_packed(weight: Tensor) -> Any:
    return torch.ops.quantized.linear_prepack_fp16(weight, None)


def _int8_packed(weight: Tensor) -> Any:
    scales = scales_of(weight)
    zeros = torch.zeros(len(weight), dtype=torch.long)
    whole = (weight / scales.unsqueeze(1)).round_().to(torch.int8)
    # Products are of 64ths. That factor belongs to the scale, but not to the rounding.
    quantized = torch._make_per_channel_quantized_tensor(  # noqa: SLF001 - it has no public name
        whole, (scales / _STEPS).double(), zeros, 0
    )
    engine = torch.backends.quantized.engine
    torch.backends.quantized.engine = "fbgemm"
    try:
        return torch.ops.quantized.linear_prepack(quantized, None)
    finally:
        torch.backends.quantized.engine = engine


def scales_of(weight: Tensor) -> Tensor:
    """Return float32 `(outputs,)`: what a step of each output's whole numbers is worth."""
    return (weight.abs().amax(dim=1) / LARGEST).clamp_(min=_LEAST)


def _rounded(inputs: Tensor) -> Tensor:
    return inputs.to(torch.bfloat16, memory_format=torch.contiguous_format)
