"""The codes of a frame after its first, which a small model predicts one by one.

The package calls transformers' `generate` for them, once a frame; at 15 tokens a call, most of the
time goes into the call itself. This loop has the same result, with preallocated memory for keys and
values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from backend.engine.kv_cache import Stretch
from backend.engine.layers import RmsNorm, TransformerLayer, causal_mask, turning_sines
from backend.engine.projection import Projection

if TYPE_CHECKING:
    from backend.engine.sampling import Sampling


class ResidualCodes:
    """Predicts the residual codes of frames, for many rows at once.

    Args:
        talker: The package's `Qwen3TTSTalkerForConditionalGeneration`.
        sampling: How codes are chosen.
    """

    def __init__(self, talker: Any, sampling: Sampling) -> None:
        predictor = talker.code_predictor
        self._first_embedding = talker.get_input_embeddings()
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
            self._first_mask = causal_mask(2, 0, self._layers[0], like)
        self._cosines = cosines[0]
        self._sines = turning_sines(sines[0])

    def predict(
        self, hidden: torch.Tensor, first_codes: torch.Tensor, draws: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Complete a frame for each row.

        Args:
            hidden: `(rows, hidden)`, the talker's state that the first codes were chosen from.
            first_codes: int64 `(rows,)`.
            draws: `(rows, code_groups - 1)`, uniform in [0, 1).

        Returns:
            The codes, int64 `(rows, code_groups)`, negative where the model failed on the row, and
            the frames' embeddings, `(rows, hidden)`.
        """
        embedded = [self._first_embedding(first_codes)]
        codes = [first_codes]
        memory = self._new_memory(len(hidden))
        state = torch.stack([hidden, embedded[0]], dim=1).flatten(0, 1)
        all_logits = []
        for group, (head, embedding) in enumerate(zip(self._heads, self._embeddings, strict=True)):
            logits = head(self._read(self._project(state), len(hidden), memory, end=group + 2))
            all_logits.append(logits)
            codes.append(self._sampling.choose(logits, draws[:, group]))
            embedded.append(embedding(codes[-1]))
            state = embedded[-1]
        is_sound = torch.stack(all_logits, dim=1).isfinite().flatten(1).all(dim=1, keepdim=True)
        frames = torch.stack(codes, dim=1).masked_fill_(~is_sound, -1)
        return frames, torch.stack(embedded, dim=1).sum(dim=1)

    def _new_memory(self, rows: int) -> list[list[torch.Tensor]]:
        """Make room for each layer's keys and values."""
        layer = self._layers[0]
        shape = (len(self._layers), 2, rows, layer.key_heads, self._positions, layer.head_dim)
        return [list(each) for each in self._cosines.new_empty(shape)]

    def _read(
        self, state: torch.Tensor, rows: int, memory: list[list[torch.Tensor]], end: int
    ) -> torch.Tensor:
        """Run the layers over positions up to `end`, of which `memory` holds all but `state`.

        Returns the last position's `(rows, predictor_hidden)`.
        """
        positions = len(state) // rows
        start = end - positions
        rotation = self._cosines[start:end], self._sines[start:end]
        mask = None if start else self._first_mask  # later ones come one at a time and see all
        for layer, (keys, values) in zip(self._layers, memory, strict=True):
            state = layer(state, rows, rotation, Stretch(keys, values, start, end), mask)
        return self._norm(state[positions - 1 :: positions])
