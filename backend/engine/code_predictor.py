"""The code predictor: a small model that predicts the residual codes of a frame one by one.

The package calls transformers' `generate` for each frame. At 15 tokens a call, most of the time
goes into the call itself. This loop has the same result, with a KV cache that is allocated once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from backend.engine.kv_cache import PrefillView
from backend.engine.layers import Projection, RmsNorm, TransformerLayer, causal_mask, signed_sines
from backend.engine.sampling import FAILED

if TYPE_CHECKING:
    from torch import Tensor

    from backend.engine.sampling import Sampling


class CodePredictor:
    """Predicts the residual codes of frames, for many rows at once.

    Args:
        talker: The package's `Qwen3TTSTalkerForConditionalGeneration`.
        sampling: How codes are sampled.
    """

    def __init__(self, talker: Any, sampling: Sampling) -> None:
        predictor = talker.code_predictor
        self._codebook0_embedding = talker.get_input_embeddings()
        self._embeddings = list(predictor.get_input_embeddings())
        self._heads = [Projection.of(head) for head in predictor.lm_head]
        self._project = predictor.small_to_mtp_projection
        self._layers = [TransformerLayer(layer) for layer in predictor.model.layers]
        self._norm = RmsNorm.of(predictor.model.norm)
        self._sampling = sampling
        self._positions = len(self._heads) + 1
        with torch.inference_mode():
            positions = torch.arange(self._positions, device=talker.device).unsqueeze(0)
            like = torch.empty(0, dtype=talker.dtype, device=talker.device)
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
        embedded = [self._codebook0_embedding(codebook0)]
        codes = [codebook0]
        cache = self._new_cache(len(hidden))
        inputs = torch.stack([hidden, embedded[0]], dim=1).flatten(0, 1)
        all_logits = []
        for group, (head, embedding) in enumerate(zip(self._heads, self._embeddings, strict=True)):
            logits = head(self._forward(self._project(inputs), len(hidden), cache, end=group + 2))
            all_logits.append(logits)
            codes.append(self._sampling.sample(logits, uniforms[:, group]))
            embedded.append(embedding(codes[-1]))
            inputs = embedded[-1]
        is_finite = torch.stack(all_logits, dim=1).isfinite().flatten(1).all(dim=1, keepdim=True)
        frames = torch.stack(codes, dim=1).masked_fill_(~is_finite, FAILED)
        return frames, torch.stack(embedded, dim=1).sum(dim=1)

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
        rotary = self._cosines[start:end], self._sines[start:end]
        mask = None if start else self._prefill_mask  # a single last position attends to all
        for layer, (keys, values) in zip(self._layers, cache, strict=True):
            hidden = layer(hidden, rows, rotary, PrefillView(keys, values, start, end), mask)
        return self._norm(hidden[positions - 1 :: positions])
