"""The state that the codec's layers keep of earlier frames.

The state of a row is one vector. So a call reads the states of its rows with one operation, and
writes them back with another, whatever the layers are.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from qwen_tts.core.tokenizer_12hz.modeling_qwen3_tts_tokenizer_v2 import (
    Qwen3TTSTokenizerV2CausalConvNet,
    Qwen3TTSTokenizerV2CausalTransConvNet,
)

from backend.engine.chunk_plan import MOST_FRAMES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

_ALIGNED = 16
"""Parts of a state begin at, and have, a multiple of so many numbers: a GPU's kernels read 16 bytes
at once."""

_CONVOLUTIONS = (Qwen3TTSTokenizerV2CausalConvNet, Qwen3TTSTokenizerV2CausalTransConvNet)


class StateLayout:
    """Which part of a row's vector belongs to which layer.

    A convolution keeps its last inputs. The transformer keeps the keys and values of the last
    frames in a ring: frame `n` is at index `n % positions`, and stays there until it is
    overwritten.

    Args:
        decoder: The package's `Qwen3TTSTokenizerV2Decoder`.
        most_frames: The most frames that are decoded in one call.

    Attributes:
        size: How many numbers a row's state has.
        window: How many frames a frame attends to, itself included.
        positions: How many frames the ring has room for.
    """

    def __init__(self, decoder: Any, most_frames: int = MOST_FRAMES) -> None:
        config = decoder.config
        self.window = int(config.sliding_window)
        self.positions = _aligned(self.window - 1 + most_frames)
        self._inputs: dict[Any, tuple[int, int, int]] = {}
        offset = 0
        for module in convolutions(decoder):
            if inputs := inputs_to_keep(module):
                channels = int(module.conv.in_channels)
                self._inputs[module] = (offset, channels, inputs)
                offset += _aligned(channels * inputs)
        self._rings_at = offset
        self._rings = (
            len(decoder.pre_transformer.layers),
            2,
            int(config.num_key_value_heads),
            self.positions,
            int(decoder.pre_transformer.layers[0].self_attn.head_dim),
        )
        self.size = offset + math.prod(self._rings)

    def open(self, vectors: Tensor, frames: Tensor, new_frames: int) -> CodecState:
        """Return the state of some rows, which is about to take new frames.

        Args:
            vectors: `(rows, size)`; changed in place.
            frames: int64 `(rows,)`, how many frames each row has had.
            new_frames: How many each takes now, at most `most_frames`.
        """
        return CodecState(self, vectors, frames, new_frames)

    def inputs(self, vectors: Tensor) -> dict[Any, Tensor]:
        """Return the kept inputs of each convolution that keeps any, the newest last.

        Args:
            vectors: `(rows, size)`.

        Returns:
            Views of it: `(rows, channels, inputs)`.
        """
        return {
            module: vectors[:, at : at + channels * inputs].view(-1, channels, inputs)
            for module, (at, channels, inputs) in self._inputs.items()
        }

    def rings(self, vectors: Tensor) -> Tensor:
        """Return the transformer's keys and values.

        Args:
            vectors: `(rows, size)`.

        Returns:
            A view of it: `(rows, layers, 2, heads, positions, head_dim)`.
        """
        return vectors[:, self._rings_at :].view(-1, *self._rings)

    def take(self, source: StateLayout, vectors: Tensor, frames: int) -> Tensor:
        """Return states of another layout in this one.

        Args:
            source: The layout, of the same decoder.
            vectors: `(rows, source.size)`.
            frames: How many frames each row has had.
        """
        taken = vectors.new_zeros(len(vectors), self.size)
        taken[:, : self._rings_at] = vectors[:, : self._rings_at]
        kept = torch.arange(max(0, frames - self.window + 1), frames, device=vectors.device)
        rings = source.rings(vectors).index_select(4, kept % source.positions)
        self.rings(taken).index_copy_(4, kept % self.positions, rings)
        return taken


class CodecState:
    """The state of some rows during a call.

    Args:
        layout: Where the layers' parts are.
        vectors: `(rows, layout.size)`; changed in place.
        frames: int64 `(rows,)`, how many frames each row has had.
        new_frames: How many each takes now.

    Attributes:
        vectors: As given.
        frames: int64 `(rows,)`, how many frames each row has had after this call.
        positions: int64 `(rows, new_frames)`, the numbers of the new frames.
        mask: `(rows, 1, new_frames, layout.positions)`, to be added to the attention scores: 0
            where a new frame attends, -inf elsewhere.
    """

    def __init__(
        self, layout: StateLayout, vectors: Tensor, frames: Tensor, new_frames: int
    ) -> None:
        numbers = torch.arange(max(new_frames, layout.positions), device=frames.device)
        self.vectors = vectors
        self.frames = frames + new_frames
        self.positions = frames.unsqueeze(1) + numbers[:new_frames]
        self._rings = layout.rings(vectors)
        self._inputs = layout.inputs(vectors)
        # Of all frames that belong at an index of the ring, the last one is there.
        last = self.frames.unsqueeze(1) - 1
        held = last - (last - numbers[: layout.positions]) % layout.positions
        distance = self.positions.unsqueeze(2) - held.unsqueeze(1)
        blocked = (distance < 0) | (distance >= layout.window) | (held < 0).unsqueeze(1)
        self.mask = vectors.new_zeros(blocked.shape).masked_fill_(blocked, -torch.inf).unsqueeze(1)
        self._places = (self.positions % layout.positions)[:, None, :, None]

    def update(self, keys: Tensor, values: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """Keep the keys and values of the new frames; return all that the ring holds.

        Args:
            keys: `(rows, heads, new_frames, head_dim)`.
            values: The same.
            layer: The number of the transformer's layer.
        """
        places = self._places.expand(keys.shape)
        ring = self._rings[:, layer]
        all_keys, all_values = ring[:, 0], ring[:, 1]
        return all_keys.scatter_(2, places, keys), all_values.scatter_(2, places, values)

    def kept(self, module: Any) -> Tensor | None:
        """Return the kept inputs of a convolution, `(rows, channels, inputs)`, if it has any."""
        return self._inputs.get(module)

    def extend(self, module: Any, hidden: Tensor) -> Tensor:
        """Prepend the kept inputs of a convolution, if any, to the new ones, and keep the last."""
        kept = self._inputs.get(module)
        if kept is None:
            return hidden
        extended = torch.cat([kept, hidden], dim=-1)
        kept.copy_(extended[..., -kept.shape[-1] :])
        return extended

    def prepare(self, module: Any, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return memory for the inputs of a convolution, with the kept ones in it, if any.

        That is `extend`, without a copy. Call `keep` when the new inputs are there.

        Args:
            module: The convolution.
            like: Has the shape and the dtype of the new inputs.

        Returns:
            All inputs, and the part of them where the new ones belong.
        """
        kept = self._inputs.get(module)
        if kept is None:
            new = torch.empty_like(like)
            return new, new
        rows, channels, count = like.shape
        before = kept.shape[-1]
        extended = like.new_empty(rows, channels, before + count)
        extended[..., :before] = kept
        return extended, extended[..., before:]

    def keep(self, module: Any, extended: Tensor) -> None:
        """Keep the last inputs of a convolution, of which `prepare` has made room for the new."""
        kept = self._inputs.get(module)
        if kept is not None:
            kept.copy_(extended[..., -kept.shape[-1] :])


def convolutions(module: Any) -> Iterator[Any]:
    """Yield the package's causal convolutions in a module."""
    return (each for each in module.modules() if isinstance(each, _CONVOLUTIONS))


def inputs_to_keep(module: Any) -> int:
    """Return how many earlier inputs a convolution needs besides each new one."""
    kernel, stride = module.conv.kernel_size[0], module.conv.stride[0]
    if isinstance(module, Qwen3TTSTokenizerV2CausalTransConvNet):
        return int((kernel - 1) // stride)
    return int((kernel - 1) * module.conv.dilation[0])


def receptive_frames(decoder: Any) -> int:
    """Return how many of the last latents the state of the convolutions depends on."""
    frames, rate = 0.0, 1
    for module in [*convolutions(decoder.upsample), *convolutions(decoder.decoder)]:
        frames += inputs_to_keep(module) / rate
        if isinstance(module, Qwen3TTSTokenizerV2CausalTransConvNet):
            rate *= module.conv.stride[0]
    return math.ceil(frames)


def _aligned(size: int) -> int:
    return math.ceil(size / _ALIGNED) * _ALIGNED
