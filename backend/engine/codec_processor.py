"""The codec's decoder on a processor in float32: what `CodecNetwork` computes, in half the time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

from backend.engine.codec_network import CodecNetwork, snake_parameters
from backend.engine.codec_products import FewerProducts, WindowProduct
from backend.engine.codec_state import inputs_to_keep
from backend.engine.projection import Projection

if TYPE_CHECKING:
    from torch import Tensor

    from backend.engine.codec_state import CodecState

_FEW_WEIGHTS = 6 * 2**20
"""A convolution with more weights than this is one product. Its values at all points would be much
more to read, and it has few inputs."""

_PIECE = 4
"""How many frames the last layers compute at a time. More would leave the processor's cache."""

_LATE_BLOCKS = 2
"""How many of the last blocks compute in pieces."""


class ProcessorNetwork(CodecNetwork):
    """The same decoder, with convolutions as matrix products, and with time before channels.

    The package's weights of the largest layers become views of the matrices. Those of the others
    are held twice.

    Args:
        decoder: The package's `Qwen3TTSTokenizerV2Decoder`, in float32, on a processor.
    """

    @torch.no_grad()
    def __init__(self, decoder: Any) -> None:
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

    def _pre_convolve(self, codes: Tensor, state: CodecState) -> Tensor:
        return self._pre_conv(self._embed(codes).transpose(1, 2), state)

    def _to_samples(self, latents: Tensor, state: CodecState) -> Tensor:
        hidden, frames = latents, latents.shape[1]
        for upsampling, block in self._upsampling:
            hidden = block(upsampling(hidden, state), state)
        hidden = self._first(hidden, state)
        for block in self._early:
            hidden = block(hidden, state)
        samples = []
        for piece in hidden.split(_PIECE * hidden.shape[1] // frames, dim=1):
            for block in self._late:
                piece = block(piece, state)
            samples.append(self._last(piece, state))
        return torch.cat(samples, dim=1).clamp_(-1, 1)


class _Convolution:
    """A causal convolution of the package.

    Args:
        module: The package's `Qwen3TTSTokenizerV2CausalConvNet`.
        activation: What comes before it, if anything does.
        scale: `(outputs,)`, what its outputs shall be multiplied by.
    """

    def __init__(
        self, module: Any, activation: Any = None, scale: Tensor | None = None
    ) -> None:
        convolution = module.conv
        self._module = module
        self._activation = None if activation is None else _Snake(activation)
        taps, bias = convolution.weight.permute(2, 1, 0), convolution.bias
        if scale is not None:
            taps, bias = taps * scale, bias * scale
        self._product: WindowProduct | FewerProducts
        if taps.numel() > _FEW_WEIGHTS or len(taps) == 1:
            taps = taps.contiguous()
            if scale is None:
                convolution.weight = nn.Parameter(taps.permute(2, 1, 0), requires_grad=False)
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
        double, half = 2 * frequency, root.square() / 2
        self._first = _Convolution(unit.conv1, unit.act1, double)
        self._height = half * double
        weight = unit.conv2.conv.weight[..., 0].t()
        self._weight = weight / double.unsqueeze(1)
        self._bias = unit.conv2.conv.bias + half @ weight

    def __call__(self, hidden: Tensor, state: CodecState) -> Tensor:
        inner = self._first(hidden, state)
        waves = torch.cos(inner)
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
        self._frequency, self._root_of_height = (
            each.squeeze(1) for each in snake_parameters(module)
        )

    def __call__(self, hidden: Tensor, out: Tensor) -> None:
        waves = (hidden * self._frequency).sin_().mul_(self._root_of_height)
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
