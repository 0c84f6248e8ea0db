"""The codec on a processor: its products are convolutions, and its speech is the package's."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.nn import functional

from backend.engine.codec.decoder import CodecDecoder
from backend.engine.codec.network import CodecNetwork
from backend.engine.codec.processor import ProcessorNetwork, network_for
from backend.engine.codec.products import FewerProducts, WindowProduct

if TYPE_CHECKING:
    from collections.abc import Callable

    from backend.engine.engine import Engine

FRAME = 1_920
TOLERANCE = 1e-9  # in double precision, so that any error but rounding shows
LENGTHS = (0, 40, 3)
LONGEST = 24
DECIBELS = 60  # what float32 has to reach: 40 is asked for

Product = FewerProducts | WindowProduct


def decibels(exact: torch.Tensor, other: torch.Tensor) -> float:
    """How far the difference is below the exact signal."""
    error = (exact.double() - other.double()).square().sum()
    return float(10 * torch.log10(exact.double().square().sum() / error))


def random_taps(
    kernel: int, inputs: int, outputs: int, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(kernel, inputs, outputs, dtype=dtype), torch.randn(outputs, dtype=dtype)


def convolved(
    inputs: torch.Tensor, taps: torch.Tensor, bias: torch.Tensor, dilation: int
) -> torch.Tensor:
    """What torch makes of it, in double precision."""
    weight = taps.double().permute(2, 1, 0)
    outputs = functional.conv1d(
        inputs.double().transpose(1, 2), weight, bias.double(), dilation=dilation
    )
    return outputs.transpose(1, 2)


def padded(product: Product, inputs: torch.Tensor, count: int) -> torch.Tensor:
    return functional.pad(inputs, (0, 0, 0, product.padding(count)))


@pytest.mark.parametrize("kind", [FewerProducts, WindowProduct])
@settings(max_examples=20, deadline=None)
@given(
    kernel=st.sampled_from([1, 2, 3, 7]),
    dilation=st.integers(1, 9),
    count=st.integers(1, 60),
    rows=st.integers(1, 3),
    inputs=st.integers(1, 5),
    outputs=st.integers(1, 5),
)
def test_products_are_a_convolution(
    kind: Callable[..., Product],
    kernel: int,
    dilation: int,
    count: int,
    rows: int,
    inputs: int,
    outputs: int,
) -> None:
    torch.manual_seed(kernel * 100 + count)
    taps, bias = random_taps(kernel, inputs, outputs, torch.float64)
    product = kind(taps, bias, dilation)
    hidden = torch.randn(rows, product.before + count, inputs, dtype=torch.float64)
    torch.testing.assert_close(
        product(padded(product, hidden, count), count),
        convolved(hidden, taps, bias, dilation),
        atol=TOLERANCE,
        rtol=TOLERANCE,
    )


@pytest.mark.parametrize(
    ("kernel", "inputs", "outputs", "dilation"),
    [(7, 768, 768, 9), (7, 384, 384, 3), (7, 96, 96, 1), (2, 768, 1_920, 1), (2, 192, 288, 1)],
)
@pytest.mark.parametrize("level", [1e-3, 1.0, 1e4])
def test_rounding_is_far_below_the_speech_in_layers_of_the_published_shape(
    kernel: int, inputs: int, outputs: int, dilation: int, level: float
) -> None:
    torch.manual_seed(0)
    taps, bias = random_taps(kernel, inputs, outputs, torch.float32)
    product = FewerProducts(taps, bias, dilation)
    hidden = level * torch.randn(1, product.before + 32, inputs)
    exact = convolved(hidden, taps, bias, dilation)
    assert decibels(exact, product(padded(product, hidden, 32), 32)) > 100


@pytest.fixture(scope="module")
def decoder(greedy_engine: Engine) -> Any:
    """The package's decoder, in double precision, with activations that differ by channel."""
    codec = greedy_engine.package_model.model.speech_tokenizer.model
    decoder = type(codec.decoder)(codec.config.decoder_config).eval().double()
    decoder.load_state_dict(codec.decoder.state_dict())
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in decoder.named_parameters():
            if name.endswith((".alpha", ".beta", ".bias")):
                parameter.normal_(std=0.3)
    return decoder


@pytest.fixture(scope="module")
def codes(decoder: Any) -> list[torch.Tensor]:
    """Of each row, its reference and its speech."""
    torch.manual_seed(2)
    groups = decoder.config.num_quantizers
    return [torch.randint(256, (length + LONGEST, groups)) for length in LENGTHS]


@pytest.fixture(scope="module")
def speech(decoder: Any, codes: list[torch.Tensor]) -> torch.Tensor:
    """What the package makes of the codes in one pass, without the reference."""
    with torch.inference_mode():
        return torch.stack([decoder(each.T[None])[0, 0, -LONGEST * FRAME :] for each in codes])


@pytest.fixture(scope="module")
def exact_codec(decoder: Any) -> CodecDecoder:
    return CodecDecoder(decoder, len(LENGTHS), ProcessorNetwork(decoder))


def streamed(codec: CodecDecoder, codes: list[torch.Tensor], ends: list[int]) -> torch.Tensor:
    codec.clear()
    rows = [codec.open(each[:length]) for each, length in zip(codes, LENGTHS, strict=True)]
    said = torch.stack([each[-LONGEST:] for each in codes])
    pieces = [codec.decode(rows, said[:, start:end]) for start, end in pairwise([0, *ends])]
    return torch.cat(pieces, dim=1)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cuts=st.sets(st.integers(1, LONGEST - 1), max_size=6))
def test_speech_in_any_pieces_is_one_decode_of_the_package(
    exact_codec: CodecDecoder, codes: list[torch.Tensor], speech: torch.Tensor, cuts: set[int]
) -> None:
    ours = streamed(exact_codec, codes, [*sorted(cuts), LONGEST])
    torch.testing.assert_close(ours, speech, atol=TOLERANCE, rtol=0)


def test_in_float32_speech_is_far_closer_than_could_be_heard(
    decoder: Any, codes: list[torch.Tensor], speech: torch.Tensor
) -> None:
    rounded = type(decoder)(decoder.config).eval()
    rounded.load_state_dict(decoder.state_dict())
    codec = CodecDecoder(rounded, len(LENGTHS), ProcessorNetwork(rounded))
    ours = streamed(codec, codes, list(accumulate([4, 4, 8, 8])))
    assert all(decibels(*rows) > DECIBELS for rows in zip(speech, ours, strict=True))


def test_a_row_whose_frame_has_failed_harms_no_other(
    exact_codec: CodecDecoder, codes: list[torch.Tensor], speech: torch.Tensor
) -> None:
    exact_codec.clear()
    rows = [exact_codec.open(each[:length]) for each, length in zip(codes, LENGTHS, strict=True)]
    said = torch.stack([each[-LONGEST:] for each in codes])[:, :5].clone()
    said[1, 3] = -1
    samples = exact_codec.decode(rows, said)
    assert samples[1].isnan().any()
    good = [0, 2]
    torch.testing.assert_close(samples[good], speech[good, : 5 * FRAME], atol=TOLERANCE, rtol=0)


@pytest.fixture
def wide(decoder: Any) -> Any:
    """A decoder with as many channels as convolutions as products need."""
    config = type(decoder.config)(**{**decoder.config.to_dict(), "decoder_dim": 1_024})
    return type(decoder)(config).eval()


def test_a_wide_codec_computes_so_and_holds_no_weights_twice(wide: Any) -> None:
    convolution = wide.decoder[0].conv.weight.numel()
    before = sum(each.numel() for each in wide.parameters())
    network = network_for(wide)
    assert type(network) is ProcessorNetwork
    after = sum(each.numel() for each in wide.parameters())
    assert before - after > convolution
    codec = CodecDecoder(wide, 1, network)
    row = codec.open(torch.randint(256, (3, 16)))
    assert codec.decode([row], torch.randint(256, (1, 2, 16))).isfinite().all()


def test_others_do_not(decoder: Any) -> None:
    assert type(network_for(decoder)) is CodecNetwork, "of double precision"
    narrow = type(decoder)(decoder.config).eval()
    assert type(network_for(narrow)) is CodecNetwork
