"""The talker: its layers, and the head that samples codebook 0 from its hidden states."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from backend.engine.kv_cache import ROW_POSITIONS, CacheShape, KVCache, unused_zeros
from backend.engine.layers import RmsNorm, TransformerLayer, causal_mask, signed_sines
from backend.engine.packed.layer import PackedLayer
from backend.engine.projection import Projection
from backend.engine.sampling import FAILED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from backend.engine.kv_cache import DecodeView, PrefillView, SlotView
    from backend.engine.packed.packer import Packer
    from backend.engine.sampling import Sampling

_MIN_TOKENS = 2  # as in qwen-tts: the fewest frames of a row
_CONTROL_CODES = 1_024  # as in qwen-tts: the last ids of the vocabulary, which are not speech


class Talker:
    """The layers of a loaded talker. They are stateless: keys and values are in a `KVCache`.

    Args:
        model: The package's `Qwen3TTSTalkerForConditionalGeneration`.
        packer: Packs its matrices; states are float32 then. None computes with them as they are.

    Attributes:
        cache_shape: What the keys and values of a row are.

    Raises ValueError if the talker has a sliding window. No published checkpoint has one.
    """

    def __init__(self, model: Any, packer: Packer | None = None) -> None:
        if model.model.config.sliding_window is not None:
            raise ValueError("the talker's layers are expected to attend to all positions")
        weight = model.model.norm.weight
        dtype = weight.dtype if packer is None else torch.float32
        self._layers = [
            TransformerLayer(layer) if packer is None else PackedLayer(layer, packer)
            for layer in model.model.layers
        ]
        self._norm = RmsNorm(weight.to(dtype), model.model.norm.variance_epsilon)
        self._like = torch.empty(0, dtype=dtype, device=weight.device)
        self._hidden_size = model.config.hidden_size
        layer = self._layers[0]
        self.cache_shape = CacheShape(
            len(self._layers), layer.key_heads, layer.head_dim, self._like.dtype
        )
        # A position has three coordinates (time, height, width). In speech all are the same, which
        # makes the package's multimodal rotary embedding a plain one.
        coordinates = torch.arange(ROW_POSITIONS, device=self._like.device).expand(3, 1, -1)
        with torch.inference_mode():
            cosines, sines = model.model.rotary_emb(self._like, coordinates)
            self._cosines = cosines[0, 0]
            self._sines = signed_sines(sines[0, 0])

    def new_cache(self, rows: int, positions: int) -> KVCache:
        """Allocate an empty KV cache; a row has at most `ROW_POSITIONS` positions."""
        device = self._like.device
        return KVCache(self.cache_shape, rows=rows, positions=positions, device=device)

    def new_states(self, positions: int) -> Tensor:
        """Allocate hidden states of zeros, `(positions, hidden)`."""
        shape = positions, self._hidden_size
        return unused_zeros(shape, self._like.dtype, self._like.device)

    def prefill(self, inputs: Tensor, cache: KVCache, row: int, start: int) -> Tensor:
        """Run the layers over several new positions of one row.

        Args:
            inputs: `(positions, hidden)`.
            cache: Has room for them.
            row: The row in the cache.
            start: How many positions of the row are in the cache already.

        Returns:
            The last position's hidden state, `(hidden,)`.
        """
        end = start + len(inputs)
        rotary = self._rotary(slice(start, end))
        mask = causal_mask(len(inputs), start, self._layers[0].queries_per_key, self._like)
        views = cache.prefill_views(row, start, end)
        return self._forward(inputs, 1, rotary, views, mask)[-1]

    def prefill_whole(self, inputs: Tensor, cache: KVCache, slots: Tensor) -> Tensor:
        """Run the layers over the first positions of some rows, which are chosen on the device.

        Args:
            inputs: `(rows, positions, hidden)`.
            cache: Has room for them.
            slots: int64 `(rows,)`, the rows in the cache.

        Returns:
            Their hidden states, `(rows, positions, hidden)`.
        """
        rows, end, _ = inputs.shape
        mask = causal_mask(end, 0, self._layers[0].queries_per_key, self._like)
        rotary = self._rotary(slice(end))
        views = cache.slot_views(slots, end)
        return self._forward(inputs.flatten(0, 1), rows, rotary, views, mask).view_as(inputs)

    def decode_step(self, inputs: Tensor, cache: KVCache, lengths: Tensor, end: int) -> Tensor:
        """Run the layers over the next position of each of the first rows.

        Args:
            inputs: `(rows, hidden)`.
            cache: Has room for them.
            lengths: int64 `(rows,)`, how many positions each row has in the cache.
            end: More than the longest length, and at most what the cache has room for.

        Returns:
            Their hidden states, `(rows, hidden)`.
        """
        rotary = self._rotary(lengths)
        is_later = torch.arange(end, device=lengths.device) > lengths.unsqueeze(1)
        mask = self._like.new_zeros(is_later.shape).masked_fill_(is_later, -torch.inf)
        views = cache.decode_views(lengths, end)
        return self._forward(inputs, len(inputs), rotary, views, mask[:, None, None])

    def _rotary(self, positions: slice | Tensor) -> tuple[Tensor, Tensor] | Tensor:
        """Return the rotary embedding as the layers take it.

        Args:
            positions: The same for all rows, or int64 `(rows,)`, one for each.
        """
        cosines, sines = self._cosines[positions], self._sines[positions]
        layer = self._layers[0]
        if isinstance(layer, PackedLayer):
            return layer.rotary(cosines, sines)
        if isinstance(positions, slice):
            return cosines, sines
        return cosines[:, None, None], sines[:, None, None]

    def _forward(
        self,
        hidden: Tensor,
        rows: int,
        rotary: Any,
        views: Sequence[PrefillView | SlotView | DecodeView],
        mask: Tensor,
    ) -> Tensor:
        hidden = hidden.to(self._like.dtype)
        for layer, view in zip(self._layers, views, strict=True):
            hidden = layer(hidden, rows, rotary, view, mask)
        return self._norm(hidden)


class CodecHead:
    """Samples the code of codebook 0, the first code of each frame, for many rows at once.

    Args:
        talker: The package's `Qwen3TTSTalkerForConditionalGeneration`.
        sampling: How a code is sampled, after the penalty and the masks are applied.
        repetition_penalty: The penalty for codes that a row had before, as in transformers.
        packer: Packs its matrix. None computes with it as it is.

    Attributes:
        end_of_speech: The code that ends a row.
        vocabulary: How many codes there are, control codes among them.
    """

    def __init__(
        self,
        talker: Any,
        sampling: Sampling,
        repetition_penalty: float,
        packer: Packer | None = None,
    ) -> None:
        self.end_of_speech: int = talker.config.codec_eos_token_id
        self.vocabulary: int = talker.config.vocab_size
        head = talker.codec_head
        self._project = Projection.of(head) if packer is None else packer.pack(head)
        self._sampling = sampling
        self._penalty = repetition_penalty
        codes = torch.arange(self.vocabulary, device=talker.model.norm.weight.device)
        self._is_end = codes == self.end_of_speech
        self._is_control = (codes >= self.vocabulary - _CONTROL_CODES) & ~self._is_end

    def sample(self, hidden: Tensor, seen: Tensor, frames: Tensor, uniforms: Tensor) -> Tensor:
        """Sample the codebook 0 code of each row's next frame.

        Args:
            hidden: `(rows, hidden)`, the talker's hidden states.
            seen: bool `(rows, vocabulary)`, the codes that each row has had.
            frames: int64 `(rows,)`, how many frames each row has.
            uniforms: `(rows,)`, in [0, 1).

        Returns:
            int64 `(rows,)`: each a code of speech, the end of speech, or `FAILED`.
        """
        logits = self._project(hidden).float()
        is_finite = logits.isfinite().all(dim=-1)
        penalised = torch.where(logits < 0, logits * self._penalty, logits / self._penalty)
        logits = torch.where(seen, penalised, logits)
        is_too_early = (frames < _MIN_TOKENS).unsqueeze(1)
        logits.masked_fill_(self._is_control | (is_too_early & self._is_end), -torch.inf)
        return self._sampling.sample(logits, uniforms).masked_fill_(~is_finite, FAILED)
