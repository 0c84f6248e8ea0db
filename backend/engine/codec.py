"""Codec frames into speech, piece by piece, without a seam.

The codec's decoder is causal: a sliding-window transformer over frames, then convolutions that
raise them to samples. So a piece can be decoded alone if each layer remembers what lies to the left
of it: the transformer its last keys and values, a convolution its last inputs. The result equals
decoding everything at once, and a piece costs the same however much came before it. (The package's
own `chunked_decode` puts 25 frames in front of each piece instead, which is not exact.)
"""

from __future__ import annotations

import math
from collections import OrderedDict
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from qwen_tts.core.tokenizer_12hz.modeling_qwen3_tts_tokenizer_v2 import (
    Qwen3TTSTokenizerV2CausalConvNet,
    Qwen3TTSTokenizerV2CausalTransConvNet,
)

from backend.contract import REFERENCE_SAMPLE_RATE
from backend.engine.codec_layers import CodecLayers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_REFERENCES = 16
"""References that are remembered as heard, some 4 MB each with the published codec."""

_CONVOLUTIONS = (Qwen3TTSTokenizerV2CausalConvNet, Qwen3TTSTokenizerV2CausalTransConvNet)


class CodecDecoder:
    """The decoder of a loaded codec.

    Args:
        decoder: The package's `Qwen3TTSTokenizerV2Decoder`.

    Attributes:
        frames_per_second: How many codec frames make a second of speech.
    """

    def __init__(self, decoder: Any) -> None:
        self._layers = CodecLayers(decoder)
        self.frames_per_second = REFERENCE_SAMPLE_RATE / int(decoder.total_upsample)
        self._settling_frames = _settling_frames(decoder)
        self._after_reference: OrderedDict[bytes, CodecStream] = OrderedDict()

    @torch.inference_mode()
    def open(self, reference: torch.Tensor) -> CodecStream:
        """Begin to decode a row.

        Args:
            reference: The frames that it has heard before its speech, int64 `(frames,
                code_groups)`, which may be none. The latest are remembered: a text of several
                sentences hears its reference once.
        """
        key = reference.cpu().numpy().tobytes()
        stream = self._after_reference.pop(key, None) or self._hear(reference)
        self._after_reference[key] = stream
        if len(self._after_reference) > _REFERENCES:
            self._after_reference.popitem(last=False)
        return CodecStream(self._layers, stream.memory)

    @torch.inference_mode()
    def decode(self, streams: Sequence[CodecStream], codes: torch.Tensor) -> torch.Tensor:
        """Decode the next frames of several rows together.

        Args:
            streams: One for each row.
            codes: int64 `(rows, frames, code_groups)`.

        Returns:
            `(rows, samples)`, in [-1, 1].
        """
        joint = CodecStream(self._layers, _join([each.memory for each in streams]))
        samples = joint.decode(codes)
        for row, stream in enumerate(streams):
            stream.memory = joint.memory.row(row)
        return samples

    def _hear(self, reference: torch.Tensor) -> CodecStream:
        stream = CodecStream(self._layers, _empty_memory(self._layers.decoder))
        if len(reference):
            latents = stream.read(reference.unsqueeze(0))
            # Nobody hears the reference, and convolutions look back a few frames only.
            stream.sound(latents[:, -self._settling_frames :])
        return stream


class CodecStream:
    """A row, or several, on the way from frames to speech. Made by `CodecDecoder.open`.

    Attributes:
        memory: What the layers remember. Its tensors are replaced, never changed.
    """

    def __init__(self, layers: CodecLayers, memory: CodecMemory) -> None:
        self._layers = layers
        self._decoder = layers.decoder
        self.memory = copy(memory)

    @torch.inference_mode()
    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """Decode the next frames of every row; as `CodecDecoder.decode` has it."""
        return self.sound(self.read(codes))

    def read(self, codes: torch.Tensor) -> torch.Tensor:
        """Turn frames into latents, `(rows, frames, latent)`: the part that looks far back."""
        hidden = self._convolve(self._decoder.pre_conv, self._layers.embed(codes))
        transformer = self._decoder.pre_transformer
        state = transformer.input_proj(hidden.transpose(1, 2))
        frames = torch.arange(codes.shape[1], device=codes.device)
        positions = self.memory.heard.unsqueeze(1) + frames
        rotation = transformer.rotary_emb(state, positions)
        mask = self._attention_mask(frames).to(state.dtype)
        for layer in transformer.layers:
            state = layer(
                state,
                attention_mask=mask,
                position_ids=positions,
                position_embeddings=rotation,
                past_key_values=self.memory,
            )
        self.memory.heard = self.memory.heard + codes.shape[1]
        return transformer.output_proj(transformer.norm(state))  # type: ignore[no-any-return]

    def sound(self, latents: torch.Tensor) -> torch.Tensor:
        """Turn latents into samples: the part that looks a few frames back."""
        hidden = latents.transpose(1, 2)
        for raising, block in self._decoder.upsample:
            hidden = self._mix(block, self._raise(raising, hidden))
        first, *blocks, snake, last = self._decoder.decoder
        hidden = self._convolve(first, hidden)
        for block in blocks:
            hidden = self._raise_in_block(block, hidden)
        samples = self._convolve(last, self._layers.activate(snake, hidden)).clamp(min=-1, max=1)
        return samples.squeeze(1)

    def _attention_mask(self, frames: torch.Tensor) -> torch.Tensor:
        """Say what each new frame attends to: `(rows, 1, frames, remembered + frames)`."""
        remembered = self.memory.window - 1
        offsets = torch.arange(-remembered, len(frames), device=frames.device)
        distance = frames.unsqueeze(1) - offsets
        in_window = (distance >= 0) & (distance <= remembered)
        was_heard = offsets >= -self.memory.heard.unsqueeze(1)
        allowed = in_window & was_heard.unsqueeze(1)
        mask = torch.zeros(allowed.shape, device=frames.device)
        return mask.masked_fill(~allowed, -torch.inf).unsqueeze(1)

    def _raise_in_block(self, block: Any, hidden: torch.Tensor) -> torch.Tensor:
        """`Qwen3TTSTokenizerV2DecoderDecoderBlock.forward`, with memory."""
        snake, raising, *units = block.block
        hidden = self._raise(raising, self._layers.activate(snake, hidden))
        for unit in units:
            inner = self._convolve(unit.conv1, self._layers.activate(unit.act1, hidden))
            inner = self._convolve(unit.conv2, self._layers.activate(unit.act2, inner))
            hidden = inner.add_(hidden)
        return hidden

    def _mix(self, block: Any, hidden: torch.Tensor) -> torch.Tensor:
        """`Qwen3TTSTokenizerV2ConvNeXtBlock.forward`, with memory."""
        inner = self._convolve(block.dwconv, hidden).transpose(1, 2)
        inner = block.pwconv2(block.act(block.pwconv1(block.norm(inner))))
        mixed: torch.Tensor = hidden + (block.gamma * inner).transpose(1, 2)
        return mixed

    def _convolve(self, module: Any, hidden: torch.Tensor) -> torch.Tensor:
        return self._layers.convolve(module.conv, self.memory.extend(module, hidden))

    def _raise(self, module: Any, hidden: torch.Tensor) -> torch.Tensor:
        stride = module.conv.stride[0]
        raised = module.conv(self.memory.extend(module, hidden))
        start = _inputs_to_remember(module) * stride
        return raised[..., start : start + hidden.shape[-1] * stride]  # type: ignore[no-any-return]


@dataclass
class CodecMemory:
    """What the layers remember of the left, for a batch of rows.

    Also serves the package's attention as its key and value cache, through `update`.

    Attributes:
        window: How many frames a frame attends to, itself among them.
        heard: int64 `(rows,)`, the frames so far.
        keys_values: For each layer `(rows, 2, heads, window - 1, head_dim)`, the latest last.
        inputs: For each convolution that looks back, its last inputs `(rows, channels, inputs)`.
    """

    window: int
    heard: torch.Tensor
    keys_values: list[torch.Tensor]
    inputs: dict[Any, torch.Tensor]

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer: int, _how: Any = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Put new keys and values behind the remembered ones; return all of them."""
        both = torch.cat([self.keys_values[layer], torch.stack([keys, values], dim=1)], dim=3)
        self.keys_values[layer] = both[:, :, :, both.shape[3] - self.window + 1 :].clone()
        return both[:, 0], both[:, 1]

    def extend(self, module: Any, hidden: torch.Tensor) -> torch.Tensor:
        """Put a convolution's remembered inputs, if any, in front of the new ones."""
        remembered = self.inputs.get(module)
        if remembered is None:
            return hidden
        extended = torch.cat([remembered, hidden], dim=-1)
        self.inputs[module] = extended[..., -remembered.shape[-1] :].clone()
        return extended

    def row(self, number: int) -> CodecMemory:
        """Take out what is remembered for one row."""
        chosen = slice(number, number + 1)
        return CodecMemory(
            window=self.window,
            heard=self.heard[chosen],
            keys_values=[each[chosen] for each in self.keys_values],
            inputs={module: each[chosen] for module, each in self.inputs.items()},
        )

    def __copy__(self) -> CodecMemory:
        return CodecMemory(self.window, self.heard, list(self.keys_values), dict(self.inputs))


def _empty_memory(decoder: Any) -> CodecMemory:
    """The memory of one row that has heard nothing, which to a causal layer is zeros."""
    config = decoder.config
    window = config.sliding_window
    attention = decoder.pre_transformer.layers[0].self_attn
    like = next(decoder.parameters())
    shape = (1, 2, config.num_key_value_heads, window - 1, attention.head_dim)
    return CodecMemory(
        window=window,
        heard=torch.zeros(1, dtype=torch.long, device=like.device),
        keys_values=[like.new_zeros(shape) for _ in decoder.pre_transformer.layers],
        inputs={
            module: like.new_zeros(1, module.conv.in_channels, remembered)
            for module in _convolutions(decoder)
            if (remembered := _inputs_to_remember(module))
        },
    )


def _join(memories: Sequence[CodecMemory]) -> CodecMemory:
    first = memories[0]
    if len(memories) == 1:
        return copy(first)
    return CodecMemory(
        window=first.window,
        heard=torch.cat([each.heard for each in memories]),
        keys_values=[
            torch.cat(layer) for layer in zip(*(each.keys_values for each in memories), strict=True)
        ],
        inputs={
            module: torch.cat([each.inputs[module] for each in memories]) for module in first.inputs
        },
    )


def _convolutions(module: Any) -> Iterator[Any]:
    """Find the convolutions inside a module, in the order in which they run."""
    return (each for each in module.modules() if isinstance(each, _CONVOLUTIONS))


def _inputs_to_remember(module: Any) -> int:
    """How many of its last inputs a convolution needs beside each new one."""
    kernel, stride = module.conv.kernel_size[0], module.conv.stride[0]
    if isinstance(module, Qwen3TTSTokenizerV2CausalTransConvNet):
        return int((kernel - 1) // stride)
    return int((kernel - 1) * module.conv.dilation[0])


def _settling_frames(decoder: Any) -> int:
    """How many latents it takes until no convolution behind them remembers anything earlier."""
    frames, rate = 0.0, 1
    for module in [*_convolutions(decoder.upsample), *_convolutions(decoder.decoder)]:
        frames += _inputs_to_remember(module) / rate
        if isinstance(module, Qwen3TTSTokenizerV2CausalTransConvNet):
            rate *= module.conv.stride[0]
    return math.ceil(frames)
