"""The talker's layers: embeddings in, states out from which codes are chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from backend.engine.kv_cache import KeyValues
from backend.engine.layers import (
    RmsNorm,
    TransformerLayer,
    causal_mask,
    turning_sines,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backend.engine.kv_cache import OwnPlaces, Stretch


class Talker:
    """A loaded talker. Keeps nothing of what it reads: that is in `KeyValues`.

    Args:
        model: The package's `Qwen3TTSTalkerForConditionalGeneration`.

    Attributes:
        growths: How often its tables of angles have been laid out anew, which moves them.

    Raises ValueError if it looks back over a sliding window, as no published checkpoint does.
    """

    def __init__(self, model: Any) -> None:
        if model.model.config.sliding_window is not None:
            raise ValueError("the talker's layers are expected to attend to all positions")
        self._layers = [TransformerLayer(layer) for layer in model.model.layers]
        self._norm = RmsNorm.of(model.model.norm)
        self._rotary = model.model.rotary_emb
        self._like = torch.empty(0, dtype=model.dtype, device=model.device)
        self._cosines = self._sines = self._like
        self.growths = 0

    def new_memory(self) -> KeyValues:
        """Make memory for rows, without room yet."""
        layer = self._layers[0]
        return KeyValues(len(self._layers), layer.key_heads, layer.head_dim, self._like)

    def reserve(self, positions: int) -> None:
        """Prepare to read so many positions of a row."""
        if positions <= len(self._cosines):
            return
        # All three of a position's coordinates (time, height, width) are the same in speech, where
        # the package's multimodal rotation is the plain one.
        places = torch.arange(positions, device=self._like.device).expand(3, 1, -1)
        cosines, sines = self._rotary(self._like, places)
        self._cosines = cosines[0, 0]
        self._sines = turning_sines(sines[0, 0])
        self.growths += 1

    def read_stretch(
        self, inputs: torch.Tensor, memory: KeyValues, row: int, start: int
    ) -> torch.Tensor:
        """Read several positions of one row.

        Args:
            inputs: `(positions, hidden)`.
            memory: Has room for them.
            row: Whose they are.
            start: How many positions it has.

        Returns:
            The last position's state, `(hidden,)`.
        """
        end = start + len(inputs)
        rotation = self._cosines[start:end], self._sines[start:end]
        mask = causal_mask(len(inputs), start, self._layers[0], self._like)
        places = memory.stretches(row, start, end)
        return self._read(inputs, 1, rotation, places, mask)[-1]

    def read_step(
        self, inputs: torch.Tensor, memory: KeyValues, lengths: torch.Tensor, end: int
    ) -> torch.Tensor:
        """Read the next position of each of the first rows.

        Args:
            inputs: `(rows, hidden)`.
            memory: Has room for them.
            lengths: int64 `(rows,)`, how many positions each has.
            end: More than the longest; no more than there is room for.

        Returns:
            Their states, `(rows, hidden)`.
        """
        rotation = self._cosines[lengths][:, None, None], self._sines[lengths][:, None, None]
        is_later = torch.arange(end, device=lengths.device) > lengths.unsqueeze(1)
        mask = self._like.new_zeros(is_later.shape).masked_fill_(is_later, -torch.inf)
        places = memory.own_places(lengths, end)
        return self._read(inputs, len(inputs), rotation, places, mask[:, None, None])

    def _read(
        self,
        state: torch.Tensor,
        rows: int,
        rotation: tuple[torch.Tensor, torch.Tensor],
        places: Sequence[Stretch | OwnPlaces],
        mask: torch.Tensor,
    ) -> torch.Tensor:
        for layer, place in zip(self._layers, places, strict=True):
            state = layer(state, rows, rotation, place, mask)
        return self._norm(state)
