"""The talker's embeddings of codec frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor


class CodecEmbeddings:
    """The embeddings of all codebooks as one matrix, so that a frame is embedded in one operation.

    The package's embeddings become views of it, so none is held twice.

    Args:
        talker: The package's `Qwen3TTSTalkerForConditionalGeneration`.

    Attributes:
        weight: `(codes of all codebooks, hidden)`.
        starts: int64 `(code_groups,)`, where each codebook begins in it.
    """

    def __init__(self, talker: Any) -> None:
        modules = [talker.get_input_embeddings(), *talker.code_predictor.get_input_embeddings()]
        self._sizes = [each.num_embeddings for each in modules]
        with torch.no_grad():
            self.weight = torch.cat([each.weight for each in modules])
        for each, part in zip(modules, self.codebooks(), strict=True):
            each.weight = nn.Parameter(part, requires_grad=False)
        starts = torch.tensor([0, *self._sizes[:-1]]).cumsum(0)
        self.starts = starts.to(self.weight.device)

    def codebooks(self) -> tuple[Tensor, ...]:
        """Return each codebook's embeddings, `(codes, hidden)`."""
        return torch.split(self.weight, self._sizes)

    def embed(self, frames: Tensor) -> Tensor:
        """Embed codec frames, int64 `(frames, code_groups)`, as `(frames, hidden)`."""
        return functional.embedding_bag(frames + self.starts, self.weight, mode="sum")
