"""The code predictor: a small model that predicts the residual codes of a frame one by one.

The package calls transformers' `generate` for each frame. At 15 tokens a call, most of the time
goes into the call itself. This loop has the same result, with a KV cache that is allocated once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from backend.engine.kv_cache import PrefillView
from backend.engine.layers import (
    RmsNorm,
    TransformerLayer,
    causal_mask,
    computed_as,
    signed_sines,
)
from backend.engine.projection import Projection
from backend.engine.sampling import FAILED

if TYPE_CHECKING:
    from torch import Tensor

    from backend.engine.codec_embeddings import CodecEmbeddings
    from backend.engine.sampling import Sampling
    from backend.weights.formats import WeightFormat


class CodePredictor:
    """Predicts the residual codes of frames, for many rows at once.

    Args:
        talker: The package's `Qwen3TTSTalkerForConditionalGeneration`.
        sampling: How codes are sampled.
        embeddings: The talker's embeddings of codec frames.
        weights: What its matrices are kept as, as in `Projection.of`.
    """

    def __init__(
        self,
        talker: Any,
        sampling: Sampling,
        embeddings: CodecEmbeddings,
        weights: WeightFormat | None = None,
    ) -> None:
        predictor = talker.code_predictor
        norm = predictor.model.norm.weight
        self._dtype = computed_as(norm.dtype, weights)
        self._embeddings = embeddings
        self._heads = [Projection.of(head, weights=weights) for head in predictor.lm_head]
        self._project = predictor.small_to_mtp_projection
        with torch.inference_mode():  # of all codes now, and not of each when it is sampled
            self._projected = [self._project(each) for each in embeddings.codebooks()[:-1]]
        self._layers = [TransformerLayer(layer, weights) for layer in predictor.model.layers]
        self._norm = RmsNorm.of(predictor.model.norm, self._dtype)
        self._sampling = sampling
        self._positions = len(self._heads) + 1
        with torch.inference_mode():
            positions = torch.arange(self._positions, device=norm.device).unsqueeze(0)
            like = torch.empty(0, dtype=self._dtype, device=norm.device)
            cosines, sines = predictor.model.rotary_emb(like, positions)
            self._prefill_mask = causal_mask(2, 0, self._layers[0], like)
        self._cosines = cosines[0]
        self._sines = signed_sines(sines[0])

    def predict(self, hidden: Tensor, codebook0: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
        """Complete a frame for each row.

        Args:
            hidden: `(rows, hidden)`, the talker's states that `codebook0` was sampled from.
            codebook0: int64 `(rows,)`, the first code of each frame.
            uniforms: `(rows, code_groups - 1)`, in [0, 1).

        Returns:
            The codes, int64 `(rows, code_groups)`, `FAILED` where the logits were not finite, and
            the frames' embeddings, `(rows, hidden)`.
        """
        codes = [codebook0]
        cache = self._new_cache(len(hidden))
        first = functional.embedding(codebook0, self._projected[0])
        projected = self._project(hidden.to(first.dtype))
        inputs = torch.stack([projected, first], dim=1).flatten(0, 1)
        all_logits = []
        for group, head in enumerate(self._heads):
            if group:
                inputs = functional.embedding(codes[-1], self._projected[group])
            logits = head(self._forward(inputs, len(hidden), cache, end=group + 2))
            all_logits.append(logits)
            codes.append(self._sampling.sample(logits, uniforms[:, group]))
        is_finite = torch.stack(all_logits, dim=1).isfinite().flatten(1).all(dim=1, keepdim=True)
        frames = torch.stack(codes, dim=1)
        embedded = self._embeddings.embed(frames).to(self._dtype)
        return frames.masked_fill_(~is_finite, FAILED), embedded

    def _new_cache(self, rows: int) -> list[list[Tensor]]:
        """Allocate each layer's keys and values, `(rows, key_heads, positions, head_dim)`."""
        layer = self._layers[0]
        shape = (len(self._layers), 2, rows, layer.key_heads, self._positions, layer.head_dim)
        return [list(each) for each in self._cosines.new_empty(shape)]

    def _forward(self, hidden: Tensor, rows: int, cache: list[list[Tensor]], end: int) -> Tensor:
        """Run the layers over the positions up to `end` that are not in the cache yet.

        Returns the last position's `(rows, predictor_hidden)`.
        """
        positions = len(hidden) // rows
        start = end - positions
        hidden = hidden.to(self._dtype)
        rotary = self._cosines[start:end], self._sines[start:end]
        mask = None if start else self._prefill_mask  # a single last position attends to all
        for layer, (keys, values) in zip(self._layers, cache, strict=True):
            hidden = layer(hidden, rows, rotary, PrefillView(keys, values, start, end), mask)
        return self._norm(hidden[positions - 1 :: positions])
