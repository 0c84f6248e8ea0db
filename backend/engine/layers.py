"""One transformer layer of the talker or its code predictor, in few and large operations.

A frame runs through these layers one position at a time: the talker's once, the code predictor's
fifteen times. With a handful of rows the number of operations counts and not their size; so
projections of the same input are one matrix here, norms one operation, and queries and keys are
turned together. Queries that share a key head are laid out as if they were positions, so that
attention needs no copies of keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from backend.engine.projection import Projection

if TYPE_CHECKING:
    from backend.engine.kv_cache import OwnPlaces, Stretch


class TransformerLayer:
    """A layer with the package's weights.

    Its joint matrices take the place of the package's own, which become views of them: no weight is
    held twice, and the package's layer works as before.

    Args:
        layer: The package's `Qwen3TTSTalkerDecoderLayer` or `Qwen3TTSDecoderLayer`.

    Attributes:
        head_dim: The length of a key.
        key_heads: The keys of a position.
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
        state: torch.Tensor,
        rows: int,
        rotation: tuple[torch.Tensor, torch.Tensor],
        place: Stretch | OwnPlaces,
        mask: torch.Tensor | None,
    ) -> torch.Tensor:
        """Run the layer over new positions.

        Args:
            state: `(rows * positions, hidden)`.
            rows: How many rows there are.
            rotation: Cosines and `turning_sines` of the new positions, which broadcast to
                `(rows, heads, positions, head_dim)`.
            place: Where their keys and values are remembered.
            mask: Added to the attention's scores: `(rows or 1, 1, queries, remembered)`, where the
                queries are the positions, repeated `queries_per_key` times. None allows all.
        """
        heads = self._project(self._first_norm(state)).view(rows, -1, self._heads, self.head_dim)
        heads = heads.transpose(1, 2)
        turned = self._turn(heads.narrow(1, 0, self._query_heads + self.key_heads), rotation)
        keys, values = place.remember(
            turned.narrow(1, self._query_heads, self.key_heads),
            heads.narrow(1, self._query_heads + self.key_heads, self.key_heads),
        )
        queries = turned.narrow(1, 0, self._query_heads)
        attended = functional.scaled_dot_product_attention(
            queries.reshape(rows, self.key_heads, -1, self.head_dim),
            keys,
            values,
            attn_mask=mask,
            scale=self._scale,
        )
        attended = attended.reshape(queries.shape).transpose(1, 2)
        state = state + self._out(attended.reshape(len(state), -1))
        gate_and_up = self._gate_and_up(self._second_norm(state))
        half = gate_and_up.shape[-1] // 2
        gate, up = gate_and_up.narrow(-1, 0, half), gate_and_up.narrow(-1, half, half)
        return state + self._down(self._activation(gate) * up)

    def _turn(
        self, heads: torch.Tensor, rotation: tuple[torch.Tensor, torch.Tensor]
    ) -> torch.Tensor:
        """Norm queries and keys, and turn their pairs of numbers by the positions' angles."""
        cosines, sines = rotation
        normed = self._head_norm(heads)
        return torch.addcmul(normed * cosines, normed.roll(self.head_dim // 2, -1), sines)


class RmsNorm:
    """`Qwen3TTSRMSNorm.forward` in few operations.

    Args:
        weight: Broadcasts to the states.
        epsilon: Added to the mean square.
    """

    def __init__(self, weight: torch.Tensor, epsilon: float) -> None:
        self._weight = weight
        self._epsilon = epsilon
        self._exact = torch.promote_types(weight.dtype, torch.float32)
        self._epsilon_tensor = torch.tensor(epsilon, dtype=self._exact, device=weight.device)

    @classmethod
    def of(cls, norm: Any) -> RmsNorm:
        """Take the package's norm."""
        return cls(norm.weight, norm.variance_epsilon)

    def __call__(self, state: torch.Tensor) -> torch.Tensor:
        """Norm the last dimension."""
        if state.is_cuda:  # which has one kernel for it
            return functional.rms_norm(state, state.shape[-1:], None, self._epsilon) * self._weight
        # On a CPU, torch's own takes eight operations, and 1.6 times as long as these four.
        norm = torch.linalg.vector_norm(state, dim=-1, keepdim=True, dtype=self._exact)
        mean = torch.addcmul(self._epsilon_tensor, norm, norm, value=1 / state.shape[-1])
        return (state * mean.rsqrt_()).to(state.dtype) * self._weight


def turning_sines(sines: torch.Tensor) -> torch.Tensor:
    """Give the sines the signs by which a roll turns pairs of numbers: `(..., head_dim)`.

    The package turns `x` by `cat(-right, left) * sines`; `roll(x) * turning_sines` is the same, and
    takes half the time.
    """
    left, right = sines.chunk(2, dim=-1)
    return torch.cat([-left, right], dim=-1)


def causal_mask(
    positions: int, before: int, layer: TransformerLayer, like: torch.Tensor
) -> torch.Tensor:
    """Let each new position attend to all before it and to itself.

    Args:
        positions: How many are new.
        before: How many are remembered.
        layer: Which the mask is for.
        like: Gives the mask its type and device.

    Returns:
        `(1, 1, queries, before + positions)`, as `TransformerLayer` takes it.
    """
    blocked = like.new_full((positions, before + positions), -torch.inf).triu(before + 1)
    return blocked.repeat(layer.queries_per_key, 1)[None, None]
