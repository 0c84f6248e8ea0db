"""bfloat16: our rounding errors are no larger than the package's, and the codec has hardly any.

Both are compared with the same model in float32, with the same rounded weights. So the difference is
what computing in bfloat16 adds. All frames are given, so that one that is chosen otherwise does not
make all that follow differ.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest
import torch

from backend.engine.codec import CodecDecoder
from tests.backend.conftest import load

if TYPE_CHECKING:
    from pathlib import Path

FRAMES = 24


def decibels_below(error: torch.Tensor, signal: torch.Tensor) -> float:
    """How far below the signal its error is."""
    return float(10 * torch.log10(signal.square().mean() / error.square().mean()))


def stream_of(decoder: Any, codes: torch.Tensor) -> torch.Tensor:
    """The samples of some frames, as our codec makes them in pieces."""
    codec = CodecDecoder(decoder)
    states = [codec.open(each) for each in codes[:, :0]]
    return torch.cat([codec.decode(states, piece) for piece in torch.split(codes, 8, dim=1)], dim=1)


@pytest.fixture(scope="module")
def codes() -> torch.Tensor:
    """`(rows, frames, code_groups)`."""
    return torch.randint(256, (2, FRAMES, 16), generator=torch.Generator().manual_seed(1))


@torch.inference_mode()
def test_a_codec_in_bfloat16_is_no_further_off_than_the_packages(
    greedy_checkpoint: Path, codes: torch.Tensor
) -> None:
    engine = load(greedy_checkpoint, dtype="bfloat16", codec_dtype="bfloat16")
    decoder = engine.package_model.model.speech_tokenizer.model.decoder
    exact = deepcopy(decoder).float()(codes.transpose(1, 2))[:, 0]
    theirs = decibels_below(decoder(codes.transpose(1, 2))[:, 0].float() - exact, exact)
    ours = decibels_below(stream_of(decoder, codes).float() - exact, exact)
    assert engine.info().codec_dtype == "bfloat16"
    assert theirs < 35  # that is audible
    assert ours >= theirs
