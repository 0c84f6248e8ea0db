"""One transformer layer of the talker or the code predictor, in few and large operations.

A frame runs through these layers one position at a time: once through the talker's, fifteen times
through the code predictor's. With a handful of rows, the time depends on the number of operations,
not on their size. So projections of the same input are one matrix here, each norm takes few
operations, and queries and keys are rotated together. Query heads that share a key head are stacked
along the positions, so that attention needs no copies of the keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from backend.engine.projection import Projection

if TYPE_CHECKING:
    from torch import Tensor

    from backend.engine.kv_cache import DecodeView, PrefillView, SlotView


class TransformerLayer:
    """A layer with the weights of a `qwen_tts` layer.

    Projections of the same input are concatenated to one matrix. The package's weights become views
    of it, so no weight is held twice, and the package's layer works as before.

    Args:
        layer: The package's `Qwen3TTSTalkerDecoderLayer` or `Qwen3TTSDecoderLayer`.

    Attributes:
        head_dim: The length of a key.
        key_heads: The number of key heads.
        queries_per_key: How many query heads attend to each key head.
    """

    def __init__(self, layer: Any) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self.head_dim: int = attention.head_dim
        self.key_heads: int = attention.k_proj.out_features // self.head_dim
        self._query_heads = attention.q_proj.out_features // self.head_dim
        self.queries_per_key = self._query_heads // self.key_heads
        self._scale = attention.scaling
        self._heads = self._query_heads + 2 * self.key_heads
        self._project = Projection.of(attention.q_proj, attention.k_proj, attention.v_proj)
        self._gate_and_up = Projection.of(mlp.gate_proj, mlp.up_proj)
        norms = [attention.q_norm] * self._query_heads + [attention.k_norm] * self.key_heads
        with torch.no_grad():
            head_weights = torch.stack([each.weight for each in norms]).unsqueeze(1)
        self._head_norm = RmsNorm(head_weights, attention.q_norm.variance_epsilon)
        self._out = Projection.of(attention.o_proj)
        self._down = Projection.of(mlp.down_proj)
        self._activation = mlp.act_fn
        self._first_norm = RmsNorm.of(layer.input_layernorm)
        self._second_norm = RmsNorm.of(layer.post_attention_layernorm)

    def __call__(
        self,
        hidden: Tensor,
        rows: int,
        rotary: tuple[Tensor, Tensor],
        cache: PrefillView | SlotView | DecodeView,
        mask: Tensor | None,
    ) -> Tensor:
        """Run the layer over new positions.

        Args:
            hidden: `(rows * positions, hidden)`.
            rows: How many rows there are.
            rotary: Cosines and `signed_sines` of the new positions, which broadcast to
                `(rows, heads, positions, head_dim)`.
            cache: The cache that their keys and values are added to.
            mask: Added to the attention scores: `(rows or 1, 1, queries, cached)`, where the
                queries are the positions, repeated `queries_per_key` times. None allows all.

        Returns:
            `(rows * positions, hidden)`.
        """
        heads = self._project(self._first_norm(hidden)).view(rows, -1, self._heads, self.head_dim)
        heads = heads.transpose(1, 2)
        rotated = self._rotate(heads.narrow(1, 0, self._query_heads + self.key_heads), rotary)
        keys, values = cache.update(
            rotated.narrow(1, self._query_heads, self.key_heads),
            heads.narrow(1, self._query_heads + self.key_heads, self.key_heads),
        )
        queries = rotated.narrow(1, 0, self._query_heads)
        attended = functional.scaled_dot_product_attention(
            queries.reshape(rows, self.key_heads, -1, self.head_dim),
            keys,
            values,
            attn_mask=mask,
            scale=self._scale,
        )
        attended = attended.reshape(queries.shape).transpose(1, 2)
        hidden = hidden + self._out(attended.reshape(len(hidden), -1))
        gate_and_up = self._gate_and_up(self._second_norm(hidden))
        half = gate_and_up.shape[-1] // 2
        gate, up = gate_and_up.narrow(-1, 0, half), gate_and_up.narrow(-1, half, half)
        return self._down.add_to(hidden, self._activation(gate) * up)

    def _rotate(self, heads: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
        """Normalise queries and keys, and apply the rotary embedding."""
        cosines, sines = rotary
        normed = self._head_norm(heads)
        return torch.addcmul(normed * cosines, normed.roll(self.head_dim // 2, -1), sines)


class RmsNorm:
    """`Qwen3TTSRMSNorm.forward` in few operations.

    Args:
        weight: Broadcasts to the hidden states.
        epsilon: Added to the mean square.
    """

    def __init__(self, weight: Tensor, epsilon: float) -> None:
        self._weight = weight
        self._epsilon = epsilon
        self._exact = torch.promote_types(weight.dtype, torch.float32)
        self._epsilon_tensor = torch.tensor(epsilon, dtype=self._exact, device=weight.device)

    @classmethod
    def of(cls, norm: Any) -> RmsNorm:
        """Use the weight of the package's norm."""
        return cls(norm.weight, norm.variance_epsilon)

    def __call__(self, hidden: Tensor) -> Tensor:
        """Normalise the last dimension."""
        if hidden.is_cuda:  # there, `rms_norm` is one kernel, which rounds once
            if self._weight.dim() == 1:
                return functional.rms_norm(hidden, hidden.shape[-1:], self._weight, self._epsilon)
            normed = functional.rms_norm(hidden, hidden.shape[-1:], None, self._epsilon)
            return normed * self._weight
        # On a CPU, `rms_norm` takes eight operations, and 1.6 times as long as these four.
        norm = torch.linalg.vector_norm(hidden, dim=-1, keepdim=True, dtype=self._exact)
        mean = torch.addcmul(self._epsilon_tensor, norm, norm, value=1 / hidden.shape[-1])
        return (hidden * mean.rsqrt_()).to(hidden.dtype) * self._weight


def signed_sines(sines: Tensor) -> Tensor:
    """Return the sines of a rotary embedding with the first half negated: `(..., head_dim)`.

    The package rotates `x` with `cat(-right, left) * sines`. `roll(x) * signed_sines` is the same,
    and takes half the time.
    """
    left, right = sines.chunk(2, dim=-1)
    return torch.cat([-left, right], dim=-1)


def causal_mask(positions: int, cached: int, queries_per_key: int, like: Tensor) -> Tensor:
    """Return the mask with which each new position attends to itself and to all before it.

    Args:
        positions: The number of new positions.
        cached: The number of positions in the cache.
        queries_per_key: How many query heads of the layer attend to each key head.
        like: A tensor with the mask's dtype and device.

    Returns:
        `(1, 1, queries, cached + positions)`, as `TransformerLayer` takes it.
    """
    blocked = like.new_full((positions, cached + positions), -torch.inf).triu(cached + 1)
    return blocked.repeat(queries_per_key, 1)[None, None]
