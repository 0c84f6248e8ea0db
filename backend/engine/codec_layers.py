"""Parts of the codec's decoder in few operations: a stream runs them for every few frames."""

from __future__ import annotations

from typing import Any

import torch
from qwen_tts.core.tokenizer_12hz.modeling_qwen3_tts_tokenizer_v2 import SnakeBeta
from torch import nn
from torch.nn import functional

_FEW_CHANNELS = 64
"""On a CPU, a convolution of at most so many is faster as a matrix product: with those that look
far back, of a few frames, up to three times."""


class CodecLayers:
    """The package's decoder, with what does not change from call to call worked out beforehand.

    The package works out codebooks and waves at every call, which takes longer than all else that
    surrounds the convolutions of a few frames.

    Args:
        decoder: The package's `Qwen3TTSTokenizerV2Decoder`.

    Attributes:
        decoder: The same.
    """

    @torch.no_grad()
    def __init__(self, decoder: Any) -> None:
        self.decoder = decoder
        quantizer = decoder.quantizer
        tables = [
            _projected_codes(layer, part.output_proj)
            for part in (quantizer.rvq_first, quantizer.rvq_rest)
            for layer in part.vq.layers
        ]
        sizes = torch.tensor([0, *(len(table) for table in tables[:-1])])
        self._codes = torch.cat(tables)
        self._starts = sizes.cumsum(0).to(self._codes.device)
        self._waves = {
            module: _wave(module) for module in decoder.modules() if isinstance(module, SnakeBeta)
        }
        self._products = {
            module: product
            for module in decoder.modules()
            if isinstance(module, nn.Conv1d) and (product := _as_product(module))
        }

    def embed(self, codes: torch.Tensor) -> torch.Tensor:
        """`quantizer.decode`: look frames up, and add up their codes.

        Args:
            codes: int64 `(rows, frames, code_groups)`.

        Returns:
            `(rows, channels, frames)`.
        """
        places = (codes + self._starts).flatten(0, 1)
        summed = functional.embedding_bag(places, self._codes, mode="sum")
        return summed.view(*codes.shape[:2], -1).transpose(1, 2)

    def activate(self, module: Any, hidden: torch.Tensor) -> torch.Tensor:
        """`SnakeBeta.forward`: add a wave of its own to each channel."""
        frequency, root_of_height = self._waves[module]
        return (hidden * frequency).sin_().mul_(root_of_height).square_().add_(hidden)

    def convolve(self, module: nn.Conv1d, hidden: torch.Tensor) -> torch.Tensor:
        """`Conv1d.forward`: `(rows, channels, length)` to as much less as it looks back."""
        if module not in self._products:
            return module(hidden)  # type: ignore[no-any-return]
        bias, weight = self._products[module]
        (kernel,), (dilation,) = module.kernel_size, module.dilation
        windows = hidden.unfold(-1, hidden.shape[-1] - (kernel - 1) * dilation, dilation)
        return torch.baddbmm(bias, weight.expand(len(hidden), -1, -1), windows.flatten(1, 2))


def _projected_codes(layer: Any, projection: Any) -> torch.Tensor:
    """Give one codebook's codes as the decoder takes them, `(codes, channels)`."""
    codebook = layer._codebook  # noqa: SLF001 - the package's own way to it
    usage = codebook.cluster_usage.clamp(min=codebook.epsilon)
    codes = layer.project_out(codebook.embedding_sum / usage.unsqueeze(1))
    projected: torch.Tensor = projection(codes.t().unsqueeze(0))[0].t()
    return projected


def _as_product(module: nn.Conv1d) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Give bias and weight of a matrix product that does the same, if that is faster."""
    is_plain = module.groups == 1 and module.stride == (1,)
    is_small = module.in_channels <= _FEW_CHANNELS and module.weight.device.type == "cpu"
    if module.bias is None or not is_plain or not is_small:
        return None
    return module.bias.unsqueeze(1), module.weight.flatten(1)


def _wave(module: SnakeBeta) -> tuple[torch.Tensor, torch.Tensor]:
    frequency = module.alpha.exp().unsqueeze(1)
    height = 1 / (module.beta.exp().unsqueeze(1) + module.no_div_by_zero)
    return frequency, height.sqrt()
