"""The codec's decoder on a processor in float32: what `CodecNetwork` computes, in half the time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from backend.engine.codec.network import CodecNetwork, snake_parameters
from backend.engine.codec.products import FewerProducts, WindowProduct
from backend.engine.codec.state import convolutions, inputs_to_keep
from backend.engine.projection import Projection

if TYPE_CHECKING:
    from torch import Tensor

    from backend.engine.codec.state import CodecState

_FEW_WEIGHTS = 6 * 2**20
"""A convolution with more weights than this is one product. Its values at all points would be much
more to read, and it has few inputs."""

_LEAST_CHANNELS = 64
"""With fewer channels, operations on the last dimension are short, and `CodecNetwork` is faster."""

_CACHED_NUMBERS = 3 * 2**18
"""How many outputs the last layers compute at a time, about: more would leave the cache. It is four
frames of one row with the published codec."""

_LATE_BLOCKS = 2
"""How many of the last blocks compute in pieces."""


class ProcessorNetwork(CodecNetwork):
    """The same decoder, with convolutions as matrix products, and with time before channels.

    Most of the codec's work is in convolutions with seven taps. `FewerProducts` computes them with
    2.5 multiplications for each output. Activations are a few passes over memory; the others are
    part of the weights that follow. What is computed is the same, in the same number format: with
    random weights in the published shape, the difference is 72 dB below the speech, and rounding
    alone is 75 dB below.

    Args:
        decoder: The package's `Qwen3TTSTokenizerV2Decoder`, on a processor.
        releases: Whether those weights of the package's decoder are given up that are held here in
            another form. Then the package's decoder cannot be used any more. With the published
            codec that saves 0.3 GB.
    """

    @torch.no_grad()
    def __init__(self, decoder: Any, *, releases: bool = False) -> None:
        super().__init__(decoder)
        self._pre_conv = _Convolution(decoder.pre_conv)
        self._upsampling = [
            (_Upsampling(convolution), _ConvNext(block)) for convolution, block in decoder.upsample
        ]
        first, *blocks, snake, last = decoder.decoder
        self._first = _Convolution(first)
        layers = [_Block(block) for block in blocks]
        self._early, self._late = layers[:-_LATE_BLOCKS], layers[-_LATE_BLOCKS:]
        self._last = _Last(snake, last)
        self._frame_outputs = self.frame_samples * int(last.conv.in_channels)
        if releases:
            for module in convolutions(decoder):
                module.conv.weight = None

    def _pre_convolve(self, codes: Tensor, state: CodecState) -> Tensor:
        return self._pre_conv(self._embed(codes).transpose(1, 2), state)

    def _to_samples(self, latents: Tensor, state: CodecState) -> Tensor:
        hidden, frames = latents, latents.shape[1]
        for upsampling, block in self._upsampling:
            hidden = block(upsampling(hidden, state), state)
        hidden = self._first(hidden, state)
        for layer in self._early:
            hidden = layer(hidden, state)
        piece = max(1, _CACHED_NUMBERS // (len(hidden) * self._frame_outputs))
        pieces = torch.split(hidden, piece * hidden.shape[1] // frames, dim=1)
        return torch.cat([self._finish(each, state) for each in pieces], dim=1)

    def _finish(self, hidden: Tensor, state: CodecState) -> Tensor:
        """Turn what the early blocks have made into samples."""
        for block in self._late:
            hidden = block(hidden, state)
        return self._last(hidden, state).clamp_(-1, 1)


def network_for(decoder: Any) -> CodecNetwork:
    """Return what decodes fastest with the package's decoder, where it is, in its number format.

    The package's decoder may not be usable any more.
    """
    weight = decoder.decoder[-1].conv.weight
    is_wide = weight.shape[1] >= _LEAST_CHANNELS
    is_exact_enough = weight.device.type == "cpu" and weight.dtype == torch.float32
    if is_wide and is_exact_enough:
        return ProcessorNetwork(decoder, releases=True)
    return CodecNetwork(decoder)


class _Convolution:
    """A causal convolution of the package.

    Args:
        module: The package's `Qwen3TTSTokenizerV2CausalConvNet`.
        activation: What comes before it, if anything does.
        scale: `(outputs,)`, what its outputs shall be multiplied by.
    """

    def __init__(self, module: Any, activation: Any = None, scale: Tensor | None = None) -> None:
        convolution = module.conv
        self._module = module
        self._activation = None if activation is None else _Snake(activation)
        taps, bias = convolution.weight.permute(2, 1, 0), convolution.bias
        if scale is not None:
            taps, bias = taps * scale, bias * scale
        self._product: WindowProduct | FewerProducts
        if taps.numel() > _FEW_WEIGHTS or len(taps) == 1:
            self._product = WindowProduct(taps, bias, *convolution.dilation)
        else:
            self._product = FewerProducts(taps, bias, *convolution.dilation)

    def __call__(self, hidden: Tensor, state: CodecState) -> Tensor:
        inputs = _with_kept(self._module, hidden, state, self._activation, self._product)
        return self._product(inputs, hidden.shape[1])


class _Upsampling:
    """A causal transposed convolution of the package, as a convolution with more outputs.

    Args:
        module: The package's `Qwen3TTSTokenizerV2CausalTransConvNet`.
        activation: What comes before it, if anything does.
    """

    def __init__(self, module: Any, activation: Any = None) -> None:
        convolution = module.conv
        self._module = module
        self._activation = None if activation is None else _Snake(activation)
        (stride,), inputs = convolution.stride, convolution.in_channels
        self._outputs = convolution.out_channels
        kernel = inputs_to_keep(module) + 1
        # The first taps are for the newest input.
        taps = convolution.weight.permute(2, 0, 1).unflatten(0, (kernel, stride)).flip(0)
        taps = taps.transpose(1, 2).reshape(kernel, inputs, stride * self._outputs)
        bias = convolution.bias.repeat(stride)
        self._product: WindowProduct | FewerProducts
        if kernel == 1 or taps.numel() > _FEW_WEIGHTS:
            self._product = WindowProduct(taps, bias)
        else:
            self._product = FewerProducts(taps, bias)

    def __call__(self, hidden: Tensor, state: CodecState) -> Tensor:
        inputs = _with_kept(self._module, hidden, state, self._activation, self._product)
        outputs = self._product(inputs, hidden.shape[1])
        return outputs.reshape(len(outputs), -1, self._outputs)


class _ConvNext:
    """`Qwen3TTSTokenizerV2ConvNeXtBlock`."""

    def __init__(self, block: Any) -> None:
        convolution = block.dwconv.conv
        self._module = block.dwconv
        self._taps = convolution.weight[:, 0].t().contiguous()
        self._bias = convolution.bias
        self._norm = block.norm
        self._first = Projection.of(block.pwconv1)
        self._second = Projection.of(block.pwconv2)
        self._scale = block.gamma

    def __call__(self, hidden: Tensor, state: CodecState) -> Tensor:
        inputs = _with_kept(self._module, hidden, state)
        count = hidden.shape[1]
        inner = self._bias.expand(hidden.shape)
        for number, tap in enumerate(self._taps):
            inner = torch.addcmul(inner, inputs[:, number : number + count], tap)
        inner = self._first(self._norm(inner).flatten(0, 1))
        inner = self._second(functional.gelu(inner)).view(hidden.shape)
        return torch.addcmul(hidden, inner, self._scale)


class _Block:
    """`Qwen3TTSTokenizerV2DecoderDecoderBlock`."""

    def __init__(self, block: Any) -> None:
        snake, convolution, *units = block.block
        self._upsampling = _Upsampling(convolution, snake)
        self._units = [_Unit(unit) for unit in units]

    def __call__(self, hidden: Tensor, state: CodecState) -> Tensor:
        hidden = self._upsampling(hidden, state)
        for unit in self._units:
            hidden = unit(hidden, state)
        return hidden


class _Unit:
    """`Qwen3TTSTokenizerV2DecoderDecoderResidualUnit`.

    The activation between its convolutions is `x + height * sin(frequency * x) ** 2`. The square is
    half of `1 - cos(2 * frequency * x)`. All that is multiplied with `x` and with the cosine, or
    added, is part of the weights.
    """

    def __init__(self, unit: Any) -> None:
        frequency, root = (each.squeeze(1) for each in snake_parameters(unit.act2))
        turns, half = frequency / math.pi, root.square() / 2
        self._first = _Convolution(unit.conv1, unit.act1, turns)
        self._height = half * turns
        weight = unit.conv2.conv.weight[..., 0].t()
        self._weight = weight / turns.unsqueeze(1)
        self._bias = unit.conv2.conv.bias + half @ weight

    def __call__(self, hidden: Tensor, state: CodecState) -> Tensor:
        inner = self._first(hidden, state)
        waves = torch.frac(inner).mul_(2 * math.pi).cos_()
        inner = torch.addcmul(inner, waves, self._height, value=-1, out=waves)
        biased = torch.add(hidden, self._bias).flatten(0, 1)
        return biased.addmm_(inner.flatten(0, 1), self._weight).view(hidden.shape)


class _Last:
    """The last activation and convolution, which has one channel as its output."""

    def __init__(self, snake: Any, module: Any) -> None:
        self._module = module
        self._activation = _Snake(snake)
        self._taps = module.conv.weight[0].contiguous()
        self._bias = module.conv.bias

    def __call__(self, hidden: Tensor, state: CodecState) -> Tensor:
        rows, count, channels = hidden.shape
        inputs = _with_kept(self._module, hidden, state, self._activation)
        products = torch.mm(inputs.view(-1, channels), self._taps)
        kernel = self._taps.shape[1]
        # Each output is the sum of a diagonal.
        diagonals = products.as_strided(
            (rows, count, kernel), (inputs.shape[1] * kernel, kernel, kernel + 1)
        )
        return diagonals.sum(2).add_(self._bias)


class _Snake:
    """`SnakeBeta`, with channels last."""

    def __init__(self, module: Any) -> None:
        frequency, root = (each.squeeze(1) for each in snake_parameters(module))
        self._half_turns, self._root_of_height = frequency / math.pi, root

    def __call__(self, hidden: Tensor, out: Tensor) -> None:
        waves = (hidden * self._half_turns).frac_().mul_(math.pi).sin_().mul_(self._root_of_height)
        torch.addcmul(hidden, waves, waves, out=out)


def _with_kept(
    module: Any,
    hidden: Tensor,
    state: CodecState,
    activation: _Snake | None = None,
    product: WindowProduct | FewerProducts | None = None,
) -> Tensor:
    """Return all inputs of a convolution: kept ones, new ones, and zeros; keep the last.

    Args:
        module: The package's convolution.
        hidden: The new inputs, `(rows, count, channels)`, before the activation.
        state: The rows' state.
        activation: What comes before the convolution.
        product: Computes the convolution, and says how many zeros it needs.
    """
    rows, count, channels = hidden.shape
    kept = state.kept(module)
    before = 0 if kept is None else kept.shape[-1]
    padding = 0 if product is None else product.padding(count)
    if activation is None and not before and not padding:
        return hidden
    inputs = hidden.new_empty(rows, before + count + padding, channels)
    new = inputs[:, before : before + count]
    if activation is None:
        new.copy_(hidden)
    else:
        activation(hidden, new)
    if kept is not None:
        # The state of a row is a vector: its parts can have time before channels.
        kept = kept.view(rows, before, channels)
        inputs[:, :before] = kept
        kept.copy_(inputs[:, count : count + before])
    if padding:
        inputs[:, before + count :] = 0
    return inputs
