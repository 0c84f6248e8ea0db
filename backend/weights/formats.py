"""The formats that a processor can keep the language model's weights in.

Needs only the standard library: settings and the machine that deploys have no torch.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal


class WeightFormat(StrEnum):
    """What the matrices of the language model are kept as, on a processor.

    With few rows, nearly all time goes into reading them. So half the bytes are nearly twice the
    speed. Everything else is computed in float32 in each format: norms, residuals, attention and
    sampling.
    """

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    INT8 = "int8"

    @property
    def larger(self) -> WeightFormat | None:
        """The format with the next smaller errors; None for float32."""
        return {self.INT8: WeightFormat.BFLOAT16, self.BFLOAT16: WeightFormat.FLOAT32}.get(self)


WeightChoice = Literal["auto", "float32", "bfloat16", "int8"]
"""What an operator may choose for the language model's weights: a format, or "auto" for what suits
the device."""
