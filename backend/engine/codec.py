"""Decodes codec frames to samples, piece by piece, with the same result as in one pass.

The codec's decoder is causal: a sliding-window transformer over frames, then convolutions that
upsample them. So a piece can be decoded alone if each layer keeps some state of the pieces before:
the transformer keeps its last keys and values, and a convolution its last inputs. The cost of a
piece does not depend on how much came before it. (The `chunked_decode` of `qwen_tts` decodes 25
earlier frames again with each piece instead, which is not exact.)
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

    from torch import Tensor

_CACHED_REFERENCES = 16
"""How many reference clips have their decoder state cached: 4 MB each with the published codec."""

_FEW_CHANNELS = 64
"""On a CPU, a convolution with at most this many input channels is faster as a matrix product: up
to three times for a few frames and a large dilation."""

_CONVOLUTIONS = (Qwen3TTSTokenizerV2CausalConvNet, Qwen3TTSTokenizerV2CausalTransConvNet)


class CodecDecoder:
    """The decoder of `qwen_tts`, with everything that is the same in every call computed once.

    The package computes its codebooks and the parameters of its activations in every call. For a
    few frames, that takes longer than everything else besides the convolutions.

    Args:
        decoder: The package's `Qwen3TTSTokenizerV2Decoder`.

    Attributes:
        frames_per_second: How many codec frames make a second of speech.
    """

    @torch.no_grad()
    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder
        self.frames_per_second = REFERENCE_SAMPLE_RATE / int(decoder.total_upsample)
        self._receptive_frames = _receptive_frames(decoder)
        self._after_reference: OrderedDict[bytes, CodecState] = OrderedDict()
        quantizer = decoder.quantizer
        codebooks = [
            _projected_codebook(layer, part.output_proj)
            for part in (quantizer.rvq_first, quantizer.rvq_rest)
            for layer in part.vq.layers
        ]
        sizes = torch.tensor([0, *(len(codebook) for codebook in codebooks[:-1])])
        self._codebooks = torch.cat(codebooks)
        self._starts = sizes.cumsum(0).to(self._codebooks.device)
        snakes = [each for each in decoder.modules() if isinstance(each, SnakeBeta)]
        self._snakes = {each: _snake_parameters(each) for each in snakes}
        products = [each for each in decoder.modules() if _is_faster_as_product(each)]
        self._products = {
            each: (each.bias.unsqueeze(1), each.weight.flatten(1)) for each in products
        }

    @torch.inference_mode()
    def open(self, reference: Tensor) -> CodecState:
        """Return the state of a row before its speech: after its reference clip.

        The states of recent references are cached. So a text of several sentences decodes its
        reference once.

        Args:
            reference: The clip's frames, int64 `(frames, code_groups)`; possibly no frames.
        """
        key = reference.cpu().numpy().tobytes()
        state = self._after_reference.pop(key, None) or self._decode_reference(reference)
        self._after_reference[key] = state
        if len(self._after_reference) > _CACHED_REFERENCES:
            self._after_reference.popitem(last=False)
        return copy(state)

    @torch.inference_mode()
    def decode(self, states: Sequence[CodecState], codes: Tensor) -> Tensor:
        """Decode the next frames of several rows together.

        Args:
            states: One for each row, from `open`. They are updated in place.
            codes: int64 `(rows, frames, code_groups)`.

        Returns:
            `(rows, samples)`, in [-1, 1].
        """
        batched = _batched(states)
        samples = self._to_samples(self._to_latents(codes, batched), batched)
        for row, state in enumerate(states):
            state.take(batched, row)
        return samples

    def _decode_reference(self, reference: Tensor) -> CodecState:
        state = _empty_state(self._decoder)
        if len(reference):
            latents = self._to_latents(reference.unsqueeze(0), state)
            # Only the convolutions' state is needed, and it depends on the last few frames alone.
            self._to_samples(latents[:, -self._receptive_frames :], state)
        return state

    def _to_latents(self, codes: Tensor, state: CodecState) -> Tensor:
        """Turn frames into latents, `(rows, frames, latent)`, with the transformer.

        A frame depends on all earlier frames in the sliding windows of the layers.
        """
        hidden = self._convolve(self._decoder.pre_conv, self._embed(codes), state)
        transformer = self._decoder.pre_transformer
        hidden = transformer.input_proj(hidden.transpose(1, 2))
        frames = torch.arange(codes.shape[1], device=codes.device)
        positions = state.frames.unsqueeze(1) + frames
        rotary = transformer.rotary_emb(hidden, positions)
        mask = state.attention_mask(frames).to(hidden.dtype)
        for layer in transformer.layers:
            hidden = layer(
                hidden,
                attention_mask=mask,
                position_ids=positions,
                position_embeddings=rotary,
                past_key_values=state,
            )
        state.frames = state.frames + codes.shape[1]
        return transformer.output_proj(transformer.norm(hidden))  # type: ignore[no-any-return]

    def _to_samples(self, latents: Tensor, state: CodecState) -> Tensor:
        """Turn latents into `(rows, samples)`. A sample depends on a few earlier frames only."""
        hidden = latents.transpose(1, 2)
        for convolution, block in self._decoder.upsample:
            hidden = self._convnext_block(block, self._upsample(convolution, hidden, state), state)
        first, *blocks, snake, last = self._decoder.decoder
        hidden = self._convolve(first, hidden, state)
        for block in blocks:
            hidden = self._decoder_block(block, hidden, state)
        samples = self._convolve(last, self._snake(snake, hidden), state).clamp(min=-1, max=1)
        return samples.squeeze(1)

    def _embed(self, codes: Tensor) -> Tensor:
        """`quantizer.decode`: look up the codes of each frame, and sum them.

        Args:
            codes: int64 `(rows, frames, code_groups)`.

        Returns:
            `(rows, channels, frames)`.
        """
        indices = (codes + self._starts).flatten(0, 1)
        summed = functional.embedding_bag(indices, self._codebooks, mode="sum")
        return summed.view(*codes.shape[:2], -1).transpose(1, 2)

    def _convnext_block(self, block: Any, hidden: Tensor, state: CodecState) -> Tensor:
        """`Qwen3TTSTokenizerV2ConvNeXtBlock.forward`, with state."""
        inner = self._convolve(block.dwconv, hidden, state).transpose(1, 2)
        inner = block.pwconv2(block.act(block.pwconv1(block.norm(inner))))
        return hidden + (block.gamma * inner).transpose(1, 2)  # type: ignore[no-any-return]

    def _decoder_block(self, block: Any, hidden: Tensor, state: CodecState) -> Tensor:
        """`Qwen3TTSTokenizerV2DecoderDecoderBlock.forward`, with state."""
        snake, convolution, *units = block.block
        hidden = self._upsample(convolution, self._snake(snake, hidden), state)
        for unit in units:
            inner = self._convolve(unit.conv1, self._snake(unit.act1, hidden), state)
            inner = self._convolve(unit.conv2, self._snake(unit.act2, inner), state)
            hidden = inner.add_(hidden)
        return hidden

    def _snake(self, module: Any, hidden: Tensor) -> Tensor:
        """`SnakeBeta.forward`: add a squared sine to each channel.

        The parameters are float32 at least, so the sine is computed in that.
        """
        frequency, root_of_height = self._snakes[module]
        waves = (hidden * frequency).sin_().mul_(root_of_height).square_().add_(hidden)
        return waves.to(hidden.dtype)

    def _convolve(self, module: Any, hidden: Tensor, state: CodecState) -> Tensor:
        """`Qwen3TTSTokenizerV2CausalConvNet.forward`, with state instead of padding."""
        convolution, hidden = module.conv, state.extend(module, hidden)
        if convolution not in self._products:
            return convolution(hidden)  # type: ignore[no-any-return]
        bias, weight = self._products[convolution]
        (kernel,), (dilation,) = convolution.kernel_size, convolution.dilation
        windows = hidden.unfold(-1, hidden.shape[-1] - (kernel - 1) * dilation, dilation)
        return torch.baddbmm(bias, weight.expand(len(hidden), -1, -1), windows.flatten(1, 2))

    def _upsample(self, module: Any, hidden: Tensor, state: CodecState) -> Tensor:
        """`Qwen3TTSTokenizerV2CausalTransConvNet.forward`, with state."""
        stride = module.conv.stride[0]
        upsampled = module.conv(state.extend(module, hidden))
        start = _inputs_to_keep(module) * stride
        return upsampled[..., start : start + hidden.shape[-1] * stride]  # type: ignore[no-any-return]


@dataclass
class CodecState:
    """The state that the layers keep of earlier frames, for a batch of rows.

    The package's attention uses it as its KV cache, through `update`. Tensors are replaced and
    never changed in place, so copies may share them.

    Attributes:
        window: How many frames a frame attends to, itself included.
        frames: int64 `(rows,)`, the frames so far.
        kept: The latest inputs, the newest last. For a transformer layer, the key is its number and
            the value its keys and values, `(rows, 2, heads, window - 1, head_dim)`. For a
            convolution, the key is the module and the value `(rows, channels, inputs)`.
    """

    window: int
    frames: Tensor
    kept: dict[Any, Tensor]

    def attention_mask(self, frames: Tensor) -> Tensor:
        """Return the additive sliding-window mask: 0 where a new frame attends, -inf elsewhere.

        Args:
            frames: int64 `(frames,)`, counting the new frames from 0.

        Returns:
            `(rows, 1, frames, cached + frames)`, to be added to the attention scores.
        """
        cached = self.window - 1
        offsets = torch.arange(-cached, len(frames), device=frames.device)
        distance = frames.unsqueeze(1) - offsets
        in_window = (distance >= 0) & (distance <= cached)
        exists = offsets >= -self.frames.unsqueeze(1)
        allowed = in_window & exists.unsqueeze(1)
        mask = torch.zeros(allowed.shape, device=frames.device)
        return mask.masked_fill(~allowed, -torch.inf).unsqueeze(1)

    def update(
        self, keys: Tensor, values: Tensor, layer: int, _how: Any = None
    ) -> tuple[Tensor, Tensor]:
        """Append new keys and values to the cached ones; return all of them."""
        both = torch.cat([self.kept[layer], torch.stack([keys, values], dim=1)], dim=3)
        self.kept[layer] = both[:, :, :, both.shape[3] - self.window + 1 :].clone()
        return both[:, 0], both[:, 1]

    def extend(self, module: Any, hidden: Tensor) -> Tensor:
        """Prepend the kept inputs of a convolution, if any, to the new ones."""
        kept = self.kept.get(module)
        if kept is None:
            return hidden
        extended = torch.cat([kept, hidden], dim=-1)
        self.kept[module] = extended[..., -kept.shape[-1] :].clone()
        return extended

    def take(self, batched: CodecState, row: int) -> None:
        """Replace this state by that of one row of a batch."""
        rows = slice(row, row + 1)
        self.frames = batched.frames[rows]
        self.kept = {layer: each[rows] for layer, each in batched.kept.items()}

    def __copy__(self) -> CodecState:
        return CodecState(self.window, self.frames, dict(self.kept))


def _projected_codebook(layer: Any, projection: Any) -> Tensor:
    """Return one codebook with the decoder's projections applied, `(codes, channels)`."""
    codebook = layer._codebook  # noqa: SLF001 - the package itself does the same
    usage = codebook.cluster_usage.clamp(min=codebook.epsilon)
    codes = layer.project_out(codebook.embedding_sum / usage.unsqueeze(1))
    projected: Tensor = projection(codes.t().unsqueeze(0))[0].t()
    return projected


def _is_faster_as_product(module: Any) -> bool:
    """Return whether a module is a convolution that is faster as a matrix product."""
    if not isinstance(module, nn.Conv1d) or module.bias is None:
        return False
    is_plain = module.groups == 1 and module.stride == (1,)
    return is_plain and module.in_channels <= _FEW_CHANNELS and module.weight.device.type == "cpu"


def _snake_parameters(module: SnakeBeta) -> tuple[Tensor, Tensor]:
    exact = torch.promote_types(module.alpha.dtype, torch.float32)
    frequency = module.alpha.to(exact).exp().unsqueeze(1)
    height = 1 / (module.beta.to(exact).exp().unsqueeze(1) + module.no_div_by_zero)
    return frequency, height.sqrt()


def _empty_state(decoder: Any) -> CodecState:
    """Return the state of one row before its first frame: zeros, as for any causal layer."""
    config = decoder.config
    window = config.sliding_window
    attention = decoder.pre_transformer.layers[0].self_attn
    like = next(decoder.parameters())
    shape = (1, 2, config.num_key_value_heads, window - 1, attention.head_dim)
    kept: dict[Any, Tensor] = {
        number: like.new_zeros(shape) for number, _ in enumerate(decoder.pre_transformer.layers)
    }
    for module in _convolutions(decoder):
        if inputs := _inputs_to_keep(module):
            kept[module] = like.new_zeros(1, module.conv.in_channels, inputs)
    return CodecState(window, torch.zeros(1, dtype=torch.long, device=like.device), kept)


def _batched(states: Sequence[CodecState]) -> CodecState:
    first, *others = states
    if not others:
        return copy(first)
    kept = {layer: torch.cat([each.kept[layer] for each in states]) for layer in first.kept}
    return CodecState(first.window, torch.cat([each.frames for each in states]), kept)


def _convolutions(module: Any) -> Iterator[Any]:
    """Find the convolutions inside a module, in the order in which they run."""
    return (each for each in module.modules() if isinstance(each, _CONVOLUTIONS))


def _inputs_to_keep(module: Any) -> int:
    """Return how many earlier inputs a convolution needs besides each new one."""
    kernel, stride = module.conv.kernel_size[0], module.conv.stride[0]
    if isinstance(module, Qwen3TTSTokenizerV2CausalTransConvNet):
        return int((kernel - 1) // stride)
    return int((kernel - 1) * module.conv.dilation[0])


def _receptive_frames(decoder: Any) -> int:
    """Return how many of the last latents the state of the convolutions depends on."""
    frames, rate = 0.0, 1
    for module in [*_convolutions(decoder.upsample), *_convolutions(decoder.decoder)]:
        frames += _inputs_to_keep(module) / rate
        if isinstance(module, Qwen3TTSTokenizerV2CausalTransConvNet):
            rate *= module.conv.stride[0]
    return math.ceil(frames)
