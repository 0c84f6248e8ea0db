"""The codec's decoder as a function of its state: `qwen_tts`' layers, with what came before.

The decoder is causal: a sliding-window transformer over frames, then convolutions that upsample
them. So a piece can be decoded alone if each layer keeps some state of the pieces before: the
transformer keeps its last keys and values, and a convolution its last inputs. The cost of a piece
does not depend on how much came before it. (The `chunked_decode` of `qwen_tts` decodes 25 earlier
frames again with each piece instead, which is not exact.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from qwen_tts.core.tokenizer_12hz.modeling_qwen3_tts_tokenizer_v2 import SnakeBeta
from torch import nn
from torch.nn import functional

from backend.engine.codec.layers import CodecLayer, norm_of
from backend.engine.codec.state import StateLayout, inputs_to_keep, receptive_frames
from backend.engine.layers import signed_sines

if TYPE_CHECKING:
    from torch import Tensor

    from backend.engine.codec.state import CodecState

_FEW_CHANNELS = 64
"""On a CPU, a convolution with at most this many input channels is faster as a matrix product: up
to three times for a few frames and a large dilation."""


class CodecNetwork:
    """The decoder of `qwen_tts`, with everything that is the same in every call computed once.

    The package computes its codebooks and the parameters of its activations in every call. For a
    few frames, that takes longer than everything else besides the convolutions.

    Args:
        decoder: The package's `Qwen3TTSTokenizerV2Decoder`.

    Attributes:
        layout: Of the state that it keeps of a row.
        like: An empty tensor with the dtype and the device of states and samples.
        code_groups: The codes of a frame.
        frame_samples: The samples of a frame.
    """

    @torch.no_grad()
    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder
        self.layout = StateLayout(decoder)
        self.like: Tensor = next(decoder.parameters()).new_empty(0)
        self.frame_samples = int(decoder.total_upsample)
        self._receptive_frames = receptive_frames(decoder)
        self._layers = [CodecLayer(layer) for layer in decoder.pre_transformer.layers]
        self._norm = norm_of(decoder.pre_transformer.norm)
        quantizer = decoder.quantizer
        codebooks = [
            _projected_codebook(layer, part.output_proj)
            for part in (quantizer.rvq_first, quantizer.rvq_rest)
            for layer in part.vq.layers
        ]
        self.code_groups = len(codebooks)
        sizes = torch.tensor([0, *(len(codebook) for codebook in codebooks[:-1])])
        self._codebooks = torch.cat(codebooks)
        self._starts = sizes.cumsum(0).to(self._codebooks.device)
        snakes = [each for each in decoder.modules() if isinstance(each, SnakeBeta)]
        self._snakes = {each: snake_parameters(each) for each in snakes}
        products = [each for each in decoder.modules() if _is_faster_as_product(each)]
        self._products = {
            each: (each.bias.unsqueeze(1), each.weight.flatten(1)) for each in products
        }

    def decode(self, codes: Tensor, state: CodecState) -> Tensor:
        """Decode the next frames of some rows.

        Args:
            codes: int64 `(rows, frames, code_groups)`.
            state: The rows' state, opened for so many new frames; it is updated.

        Returns:
            `(rows, samples)`, in [-1, 1].
        """
        return self._to_samples(self._to_latents(codes, state), state)

    def after_reference(self, reference: Tensor) -> Tensor:
        """Return the state of a row before its speech: after its reference clip.

        Args:
            reference: The clip's frames, int64 `(frames, code_groups)`; possibly no frames.

        Returns:
            `(1, layout.size)`.
        """
        frames = len(reference)
        layout = StateLayout(self._decoder, frames)
        vectors = self.like.new_zeros(1, layout.size)
        if frames:
            before = torch.zeros(1, dtype=torch.long, device=vectors.device)
            state = layout.open(vectors, before, frames)
            latents = self._to_latents(reference.unsqueeze(0), state)
            # Only the convolutions' state is needed, and it depends on the last few frames alone.
            self._to_samples(latents[:, -self._receptive_frames :], state)
        return self.layout.take(layout, vectors, frames)

    def _to_latents(self, codes: Tensor, state: CodecState) -> Tensor:
        """Turn frames into latents with the transformer.

        A latent depends on all earlier frames in the sliding windows of the layers.

        Args:
            codes: int64 `(rows, frames, code_groups)`.
            state: The rows' state, opened for so many new frames; it is updated.

        Returns:
            `(rows, frames, latent)`.
        """
        transformer = self._decoder.pre_transformer
        hidden = transformer.input_proj(self._pre_convolve(codes, state))
        cosines, sines = transformer.rotary_emb(hidden, state.positions)
        rotary = cosines.unsqueeze(1), signed_sines(sines).unsqueeze(1)
        rows, frames, _ = hidden.shape
        hidden = hidden.flatten(0, 1)
        for layer in self._layers:
            hidden = layer(hidden, rotary, state)
        latents: Tensor = transformer.output_proj(self._norm(hidden))
        return latents.view(rows, frames, -1)

    def _to_samples(self, latents: Tensor, state: CodecState) -> Tensor:
        """Turn latents into samples. A sample depends on a few earlier frames only.

        Args:
            latents: `(rows, frames, latent)`.
            state: The rows' state; it is updated.

        Returns:
            `(rows, samples)`, in [-1, 1].
        """
        hidden = latents.transpose(1, 2)
        for convolution, block in self._decoder.upsample:
            inputs = state.extend(convolution, hidden)
            hidden = self._upsample(convolution, inputs, hidden.shape[-1])
            hidden = self._convnext_block(block, hidden, state)
        first, *blocks, snake, last = self._decoder.decoder
        hidden = self._convolve(first, state.extend(first, hidden))
        for block in blocks:
            hidden = self._decoder_block(block, hidden, state)
        samples = self._convolve(last, self._snake(snake, hidden, last, state)).clamp_(-1, 1)
        return samples.squeeze(1)

    def _pre_convolve(self, codes: Tensor, state: CodecState) -> Tensor:
        """Turn frames into what the transformer reads.

        Args:
            codes: int64 `(rows, frames, code_groups)`.
            state: The rows' state; it is updated.

        Returns:
            `(rows, frames, latent)`.
        """
        pre_conv = self._decoder.pre_conv
        return self._convolve(pre_conv, state.extend(pre_conv, self._embed(codes))).transpose(1, 2)

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
        inner = self._convolve(block.dwconv, state.extend(block.dwconv, hidden)).transpose(1, 2)
        inner = block.pwconv2(block.act(block.pwconv1(block.norm(inner))))
        return hidden + (block.gamma * inner).transpose(1, 2)  # type: ignore[no-any-return]

    def _decoder_block(self, block: Any, hidden: Tensor, state: CodecState) -> Tensor:
        """`Qwen3TTSTokenizerV2DecoderDecoderBlock.forward`, with state."""
        snake, convolution, *units = block.block
        inputs = self._snake(snake, hidden, convolution, state)
        hidden = self._upsample(convolution, inputs, hidden.shape[-1])
        for unit in units:
            inner = self._convolve(unit.conv1, self._snake(unit.act1, hidden, unit.conv1, state))
            inner = self._convolve(unit.conv2, self._snake(unit.act2, inner, unit.conv2, state))
            hidden = inner.add_(hidden)
        return hidden

    def _snake(self, module: Any, hidden: Tensor, convolution: Any, state: CodecState) -> Tensor:
        """`SnakeBeta.forward` before a convolution: add a squared sine to each channel.

        The parameters are float32 at least, so the sine is computed in that.

        Returns:
            All inputs of the convolution.
        """
        frequency, root_of_height = self._snakes[module]
        waves = (hidden * frequency).sin_().mul_(root_of_height)
        if waves.dtype != hidden.dtype:
            return state.extend(convolution, torch.addcmul(hidden, waves, waves).to(hidden.dtype))
        inputs, new = state.prepare(convolution, hidden)
        torch.addcmul(hidden, waves, waves, out=new)
        state.keep(convolution, inputs)
        return inputs

    def _convolve(self, module: Any, inputs: Tensor) -> Tensor:
        """`Qwen3TTSTokenizerV2CausalConvNet.forward`, with earlier inputs instead of padding."""
        convolution = module.conv
        if convolution not in self._products:
            return convolution(inputs)  # type: ignore[no-any-return]
        bias, weight = self._products[convolution]
        (kernel,), (dilation,) = convolution.kernel_size, convolution.dilation
        windows = inputs.unfold(-1, inputs.shape[-1] - (kernel - 1) * dilation, dilation)
        return torch.baddbmm(bias, weight.expand(len(inputs), -1, -1), windows.flatten(1, 2))

    def _upsample(self, module: Any, inputs: Tensor, count: int) -> Tensor:
        """`Qwen3TTSTokenizerV2CausalTransConvNet.forward`, with earlier inputs.

        Args:
            module: The convolution.
            inputs: Earlier inputs, and the new ones.
            count: How many are new.
        """
        stride = module.conv.stride[0]
        start = inputs_to_keep(module) * stride
        return module.conv(inputs)[..., start : start + count * stride]  # type: ignore[no-any-return]


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


def snake_parameters(module: SnakeBeta) -> tuple[Tensor, Tensor]:
    """Return an activation's frequencies, and the roots of its heights: both `(channels, 1)`.

    It is `x + (root * sin(frequency * x)) ** 2`. They are float32 at least.
    """
    exact = torch.promote_types(module.alpha.dtype, torch.float32)
    frequency = module.alpha.to(exact).exp().unsqueeze(1)
    height = 1 / (module.beta.to(exact).exp().unsqueeze(1) + module.no_div_by_zero)
    return frequency, height.sqrt()
