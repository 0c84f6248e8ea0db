"""Codec frames into samples, piece by piece, with the same result as in one pass.

The codec's decoder is causal: a sliding-window transformer over frames, then convolutions that
upsample them. So a piece can be decoded alone if each layer keeps what lies to the left of it: the
transformer its last keys and values, a convolution its last inputs. A piece costs the same however
much came before it. (The package's own `chunked_decode` decodes 25 earlier frames again with each
piece instead, which is not exact.)
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
    SnakeBeta,
)
from torch import nn
from torch.nn import functional

from backend.contract import REFERENCE_SAMPLE_RATE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_CACHED_REFERENCES = 16
"""Decoded reference clips whose state is kept, some 4 MB each with the published codec."""

_FEW_CHANNELS = 64
"""On a CPU, a convolution with at most this many input channels is faster as a matrix product: up
to three times for a few frames and a large dilation."""

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
        self._receptive_frames = _receptive_frames(decoder)
        self._after_reference: OrderedDict[bytes, CodecStream] = OrderedDict()

    @torch.inference_mode()
    def open(self, reference: torch.Tensor) -> CodecStream:
        """Start the stream of a row.

        Args:
            reference: The frames before its speech, int64 `(frames, code_groups)`, which may be
                none. The state after the latest references is kept, so that a text of several
                sentences decodes its reference once.
        """
        key = reference.cpu().numpy().tobytes()
        stream = self._after_reference.pop(key, None) or self._decode_reference(reference)
        self._after_reference[key] = stream
        if len(self._after_reference) > _CACHED_REFERENCES:
            self._after_reference.popitem(last=False)
        return CodecStream(self._layers, stream.state)

    @torch.inference_mode()
    def decode(self, streams: Sequence[CodecStream], codes: torch.Tensor) -> torch.Tensor:
        """Decode the next frames of several rows together.

        Args:
            streams: One for each row.
            codes: int64 `(rows, frames, code_groups)`.

        Returns:
            `(rows, samples)`, in [-1, 1].
        """
        joint = CodecStream(self._layers, _joined([each.state for each in streams]))
        samples = joint.decode(codes)
        for row, stream in enumerate(streams):
            stream.state = joint.state.row(row)
        return samples

    def _decode_reference(self, reference: torch.Tensor) -> CodecStream:
        stream = CodecStream(self._layers, _empty_state(self._layers.decoder))
        if len(reference):
            latents = stream.to_latents(reference.unsqueeze(0))
            # The samples are not needed, only the convolutions' state, which is a few frames deep.
            stream.to_samples(latents[:, -self._receptive_frames :])
        return stream


class CodecStream:
    """The decoding of one row, or of several together. Made by `CodecDecoder.open`.

    Attributes:
        state: What the layers keep. Its tensors are replaced, never changed.
    """

    def __init__(self, layers: CodecLayers, state: CodecState) -> None:
        self._layers = layers
        self._decoder = layers.decoder
        self.state = copy(state)

    @torch.inference_mode()
    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """Decode the next frames of every row, like `CodecDecoder.decode`."""
        return self.to_samples(self.to_latents(codes))

    def to_latents(self, codes: torch.Tensor) -> torch.Tensor:
        """Turn frames into latents, `(rows, frames, latent)`: the transformer, which looks back far."""
        hidden = self._convolve(self._decoder.pre_conv, self._layers.embed(codes))
        transformer = self._decoder.pre_transformer
        hidden = transformer.input_proj(hidden.transpose(1, 2))
        frames = torch.arange(codes.shape[1], device=codes.device)
        positions = self.state.frames.unsqueeze(1) + frames
        rotary = transformer.rotary_emb(hidden, positions)
        mask = self._attention_mask(frames).to(hidden.dtype)
        for layer in transformer.layers:
            hidden = layer(
                hidden,
                attention_mask=mask,
                position_ids=positions,
                position_embeddings=rotary,
                past_key_values=self.state,
            )
        self.state.frames = self.state.frames + codes.shape[1]
        return transformer.output_proj(transformer.norm(hidden))  # type: ignore[no-any-return]

    def to_samples(self, latents: torch.Tensor) -> torch.Tensor:
        """Turn latents into `(rows, samples)`: the convolutions, which look back a few frames."""
        hidden = latents.transpose(1, 2)
        for convolution, block in self._decoder.upsample:
            hidden = self._convnext_block(block, self._upsample(convolution, hidden))
        first, *blocks, snake, last = self._decoder.decoder
        hidden = self._convolve(first, hidden)
        for block in blocks:
            hidden = self._decoder_block(block, hidden)
        samples = self._convolve(last, self._layers.snake(snake, hidden)).clamp(min=-1, max=1)
        return samples.squeeze(1)

    def _attention_mask(self, frames: torch.Tensor) -> torch.Tensor:
        """Return what each new frame attends to: `(rows, 1, frames, cached + frames)`."""
        cached = self.state.window - 1
        offsets = torch.arange(-cached, len(frames), device=frames.device)
        distance = frames.unsqueeze(1) - offsets
        in_window = (distance >= 0) & (distance <= cached)
        exists = offsets >= -self.state.frames.unsqueeze(1)
        allowed = in_window & exists.unsqueeze(1)
        mask = torch.zeros(allowed.shape, device=frames.device)
        return mask.masked_fill(~allowed, -torch.inf).unsqueeze(1)

    def _decoder_block(self, block: Any, hidden: torch.Tensor) -> torch.Tensor:
        """`Qwen3TTSTokenizerV2DecoderDecoderBlock.forward`, with state."""
        snake, convolution, *units = block.block
        hidden = self._upsample(convolution, self._layers.snake(snake, hidden))
        for unit in units:
            inner = self._convolve(unit.conv1, self._layers.snake(unit.act1, hidden))
            inner = self._convolve(unit.conv2, self._layers.snake(unit.act2, inner))
            hidden = inner.add_(hidden)
        return hidden

    def _convnext_block(self, block: Any, hidden: torch.Tensor) -> torch.Tensor:
        """`Qwen3TTSTokenizerV2ConvNeXtBlock.forward`, with state."""
        inner = self._convolve(block.dwconv, hidden).transpose(1, 2)
        inner = block.pwconv2(block.act(block.pwconv1(block.norm(inner))))
        summed: torch.Tensor = hidden + (block.gamma * inner).transpose(1, 2)
        return summed

    def _convolve(self, module: Any, hidden: torch.Tensor) -> torch.Tensor:
        return self._layers.convolve(module.conv, self.state.extend(module, hidden))

    def _upsample(self, module: Any, hidden: torch.Tensor) -> torch.Tensor:
        """`Qwen3TTSTokenizerV2CausalTransConvNet.forward`, with state."""
        stride = module.conv.stride[0]
        upsampled = module.conv(self.state.extend(module, hidden))
        start = _inputs_to_keep(module) * stride
        return upsampled[..., start : start + hidden.shape[-1] * stride]  # type: ignore[no-any-return]


@dataclass
class CodecState:
    """What the layers keep of the left, for a batch of rows.

    The package's attention uses it as its KV cache, through `update`.

    Attributes:
        window: How many frames a frame attends to, itself included.
        frames: int64 `(rows,)`, the frames so far.
        keys_values: For each layer `(rows, 2, heads, window - 1, head_dim)`, the latest last.
        inputs: For each convolution that looks back, its last inputs `(rows, channels, inputs)`.
    """

    window: int
    frames: torch.Tensor
    keys_values: list[torch.Tensor]
    inputs: dict[Any, torch.Tensor]

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer: int, _how: Any = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append new keys and values to the cached ones; return all of them."""
        both = torch.cat([self.keys_values[layer], torch.stack([keys, values], dim=1)], dim=3)
        self.keys_values[layer] = both[:, :, :, both.shape[3] - self.window + 1 :].clone()
        return both[:, 0], both[:, 1]

    def extend(self, module: Any, hidden: torch.Tensor) -> torch.Tensor:
        """Put the inputs that were kept for a convolution, if any, in front of the new ones."""
        kept = self.inputs.get(module)
        if kept is None:
            return hidden
        extended = torch.cat([kept, hidden], dim=-1)
        self.inputs[module] = extended[..., -kept.shape[-1] :].clone()
        return extended

    def row(self, number: int) -> CodecState:
        """Return the state of one row."""
        row = slice(number, number + 1)
        return CodecState(
            window=self.window,
            frames=self.frames[row],
            keys_values=[each[row] for each in self.keys_values],
            inputs={module: each[row] for module, each in self.inputs.items()},
        )

    def __copy__(self) -> CodecState:
        return CodecState(self.window, self.frames, list(self.keys_values), dict(self.inputs))


class CodecLayers:
    """The package's decoder, with what is the same in every call computed once.

    The package computes its codebooks and the parameters of its activations in every call, which
    takes longer than all else around the convolutions of a few frames.

    Args:
        decoder: The package's `Qwen3TTSTokenizerV2Decoder`.

    Attributes:
        decoder: The same.
    """

    @torch.no_grad()
    def __init__(self, decoder: Any) -> None:
        self.decoder = decoder
        quantizer = decoder.quantizer
        codebooks = [
            _projected_codebook(layer, part.output_proj)
            for part in (quantizer.rvq_first, quantizer.rvq_rest)
            for layer in part.vq.layers
        ]
        sizes = torch.tensor([0, *(len(codebook) for codebook in codebooks[:-1])])
        self._codebooks = torch.cat(codebooks)
        self._starts = sizes.cumsum(0).to(self._codebooks.device)
        self._snakes = {
            module: _snake_parameters(module)
            for module in decoder.modules()
            if isinstance(module, SnakeBeta)
        }
        self._products = {
            module: product
            for module in decoder.modules()
            if isinstance(module, nn.Conv1d) and (product := _as_product(module))
        }

    def embed(self, codes: torch.Tensor) -> torch.Tensor:
        """`quantizer.decode`: look up the codes of each frame, and sum them.

        Args:
            codes: int64 `(rows, frames, code_groups)`.

        Returns:
            `(rows, channels, frames)`.
        """
        indices = (codes + self._starts).flatten(0, 1)
        summed = functional.embedding_bag(indices, self._codebooks, mode="sum")
        return summed.view(*codes.shape[:2], -1).transpose(1, 2)

    def snake(self, module: Any, hidden: torch.Tensor) -> torch.Tensor:
        """`SnakeBeta.forward`: add a squared sine to each channel."""
        frequency, root_of_height = self._snakes[module]
        return (hidden * frequency).sin_().mul_(root_of_height).square_().add_(hidden)

    def convolve(self, module: nn.Conv1d, hidden: torch.Tensor) -> torch.Tensor:
        """`Conv1d.forward`, without padding."""
        if module not in self._products:
            return module(hidden)  # type: ignore[no-any-return]
        bias, weight = self._products[module]
        (kernel,), (dilation,) = module.kernel_size, module.dilation
        windows = hidden.unfold(-1, hidden.shape[-1] - (kernel - 1) * dilation, dilation)
        return torch.baddbmm(bias, weight.expand(len(hidden), -1, -1), windows.flatten(1, 2))


def _projected_codebook(layer: Any, projection: Any) -> torch.Tensor:
    """Return one codebook as the decoder takes it, `(codes, channels)`."""
    codebook = layer._codebook  # noqa: SLF001 - the package's own way to it
    usage = codebook.cluster_usage.clamp(min=codebook.epsilon)
    codes = layer.project_out(codebook.embedding_sum / usage.unsqueeze(1))
    projected: torch.Tensor = projection(codes.t().unsqueeze(0))[0].t()
    return projected


def _as_product(module: nn.Conv1d) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Return bias and weight of a matrix product that does the same, if that is faster."""
    is_plain = module.groups == 1 and module.stride == (1,)
    is_small = module.in_channels <= _FEW_CHANNELS and module.weight.device.type == "cpu"
    if module.bias is None or not is_plain or not is_small:
        return None
    return module.bias.unsqueeze(1), module.weight.flatten(1)


def _snake_parameters(module: SnakeBeta) -> tuple[torch.Tensor, torch.Tensor]:
    frequency = module.alpha.exp().unsqueeze(1)
    height = 1 / (module.beta.exp().unsqueeze(1) + module.no_div_by_zero)
    return frequency, height.sqrt()


def _empty_state(decoder: Any) -> CodecState:
    """Return the state of one row before its first frame: zeros, as for any causal layer."""
    config = decoder.config
    window = config.sliding_window
    attention = decoder.pre_transformer.layers[0].self_attn
    like = next(decoder.parameters())
    shape = (1, 2, config.num_key_value_heads, window - 1, attention.head_dim)
    return CodecState(
        window=window,
        frames=torch.zeros(1, dtype=torch.long, device=like.device),
        keys_values=[like.new_zeros(shape) for _ in decoder.pre_transformer.layers],
        inputs={
            module: like.new_zeros(1, module.conv.in_channels, kept)
            for module in _convolutions(decoder)
            if (kept := _inputs_to_keep(module))
        },
    )


def _joined(states: Sequence[CodecState]) -> CodecState:
    first = states[0]
    if len(states) == 1:
        return copy(first)
    return CodecState(
        window=first.window,
        frames=torch.cat([each.frames for each in states]),
        keys_values=[
            torch.cat(layer) for layer in zip(*(each.keys_values for each in states), strict=True)
        ],
        inputs={
            module: torch.cat([each.inputs[module] for each in states]) for module in first.inputs
        },
    )


def _convolutions(module: Any) -> Iterator[Any]:
    """Find the convolutions inside a module, in the order in which they run."""
    return (each for each in module.modules() if isinstance(each, _CONVOLUTIONS))


def _inputs_to_keep(module: Any) -> int:
    """Return how many of its last inputs a convolution needs besides each new one."""
    kernel, stride = module.conv.kernel_size[0], module.conv.stride[0]
    if isinstance(module, Qwen3TTSTokenizerV2CausalTransConvNet):
        return int((kernel - 1) // stride)
    return int((kernel - 1) * module.conv.dilation[0])


def _receptive_frames(decoder: Any) -> int:
    """Return how many latents the state of the convolutions depends on."""
    frames, rate = 0.0, 1
    for module in [*_convolutions(decoder.upsample), *_convolutions(decoder.decoder)]:
        frames += _inputs_to_keep(module) / rate
        if isinstance(module, Qwen3TTSTokenizerV2CausalTransConvNet):
            rate *= module.conv.stride[0]
    return math.ceil(frames)
