"""One transformer layer of the codec, in few operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from backend.engine.layers import RmsNorm
from backend.engine.projection import Projection

if TYPE_CHECKING:
    from torch import Tensor

    from backend.engine.codec.state import CodecState


class CodecLayer:
    """A layer with the weights of a layer of the package's codec.

    It differs from `backend.engine.layers.TransformerLayer`: queries and keys are not normalised,
    what is added to the hidden states is scaled, and only the last frames are attended to.

    Args:
        layer: The package's `Qwen3TTSTokenizerV2DecoderTransformerLayer`.

    Raises ValueError if several query heads share a key head. No published codec has that.
    """

    def __init__(self, layer: Any) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self._number = int(attention.layer_idx)
        self._head_dim = int(attention.head_dim)
        self._heads = int(attention.q_proj.out_features) // self._head_dim
        if attention.k_proj.out_features != attention.q_proj.out_features:
            raise ValueError("the codec is expected to have as many key heads as query heads")
        self._scale = attention.scaling
        self._project = Projection.of(attention.q_proj, attention.k_proj, attention.v_proj)
        self._out = Projection.of(attention.o_proj)
        self._gate_and_up = Projection.of(mlp.gate_proj, mlp.up_proj)
        self._down = Projection.of(mlp.down_proj)
        self._activation = mlp.act_fn
        self._first_norm = norm_of(layer.input_layernorm)
        self._second_norm = norm_of(layer.post_attention_layernorm)
        self._first_scale = layer.self_attn_layer_scale.scale
        self._second_scale = layer.mlp_layer_scale.scale

    def __call__(self, hidden: Tensor, rotary: tuple[Tensor, Tensor], state: CodecState) -> Tensor:
        """Run the layer over the new frames.

        Args:
            hidden: `(rows * frames, hidden)`.
            rotary: Cosines and `signed_sines` of the frames: `(rows, 1, frames, head_dim)`.
            state: The rows' state; it is updated.

        Returns:
            `(rows * frames, hidden)`.
        """
        cosines, sines = rotary
        shape = (len(cosines), -1, 3 * self._heads, self._head_dim)
        heads = self._project(self._first_norm(hidden)).view(shape).transpose(1, 2)
        turned = heads.narrow(1, 0, 2 * self._heads)
        rotated = torch.addcmul(turned * cosines, turned.roll(self._head_dim // 2, -1), sines)
        keys, values = state.update(
            rotated.narrow(1, self._heads, self._heads),
            heads.narrow(1, 2 * self._heads, self._heads),
            self._number,
        )
        attended = functional.scaled_dot_product_attention(
            rotated.narrow(1, 0, self._heads),
            keys,
            values,
            attn_mask=state.mask,
            scale=self._scale,
        )
        attended = attended.transpose(1, 2).reshape(len(hidden), -1)
        hidden = torch.addcmul(hidden, self._out(attended), self._first_scale)
        gate_and_up = self._gate_and_up(self._second_norm(hidden))
        half = gate_and_up.shape[-1] // 2
        gate, up = gate_and_up.narrow(-1, 0, half), gate_and_up.narrow(-1, half, half)
        return torch.addcmul(hidden, self._down(self._activation(gate) * up), self._second_scale)


def norm_of(norm: Any) -> Any:
    """Return the package's norm in few operations, or as it is in float64.

    The package's computes in float32, whatever comes in. In float64, which is only for comparisons
    with the package, a norm that is more exact would be another result.
    """
    return norm if norm.weight.dtype == torch.float64 else RmsNorm.of(norm)
