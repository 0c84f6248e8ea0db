"""Packed matrices: their errors against float32, by product and by layer.

Weights and inputs are noise here, as nothing else is at hand. Errors of trained weights may differ;
the check at load measures those.
"""

from __future__ import annotations

import math
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import pytest
import torch
from qwen_tts.core.models.configuration_qwen3_tts import Qwen3TTSTalkerConfig
from qwen_tts.core.models.modeling_qwen3_tts import Qwen3TTSTalkerForConditionalGeneration
from torch import nn

from backend.engine.kv_cache import PrefillView
from backend.engine.layers import TransformerLayer, causal_mask, signed_sines
from backend.engine.packed import packer as packing
from backend.engine.packed.layer import PackedLayer
from backend.engine.packed.matrices import (
    Float32Matrix,
    HalfMatrix,
    Int8Matrix,
    RoundedMatrix,
    SplitInt8Matrix,
)
from backend.engine.packed.packer import Packer
from backend.weights.formats import WeightFormat

if TYPE_CHECKING:
    from torch import Tensor

BOUNDS = {
    Float32Matrix: 1e-5,
    HalfMatrix: 0.0005,
    RoundedMatrix: 0.005,
    Int8Matrix: 0.012,
    SplitInt8Matrix: 0.011,
}
"""How far a product of noise may be off, as a share of its length. The 8 bits of a weight between
-127 and 127 make an error of 0.8 % where its output's largest weight is 3.5 times the usual one."""

LAYER_BOUNDS = {
    WeightFormat.FLOAT32: 1e-5,
    WeightFormat.BFLOAT16: 0.02,
    WeightFormat.INT8: 0.05,
}
"""How far what a layer adds to the states may be off, as a share of it. Where processors multiply
bfloat16 themselves, products are rounded to it as well as inputs."""

KINDS = pytest.mark.parametrize("kind", BOUNDS, ids=lambda kind: kind.__name__)

MINIATURE = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "rope_scaling": {"rope_type": "default", "mrope_section": [4, 2, 2], "interleaved": True},
    "initializer_range": 0.15,
}
ODD_SHAPE = {
    "hidden_size": 44,
    "intermediate_size": 54,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "head_dim": 6,
    "rope_scaling": {"rope_type": "default", "mrope_section": [1, 1, 1], "interleaved": True},
    "initializer_range": 0.15,
    "attention_bias": True,
}
TRUE_SHAPE = {  # of Qwen3-TTS-12Hz-0.6B-Base
    "hidden_size": 1_024,
    "intermediate_size": 3_072,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "rope_scaling": {"rope_type": "default", "mrope_section": [24, 20, 20], "interleaved": True},
    "initializer_range": 0.03,
}


@pytest.fixture(autouse=True)
def _inference() -> Any:
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module", params=list(WeightFormat))
def packer(request: pytest.FixtureRequest) -> Packer:
    return Packer(request.param)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def error(result: Tensor, exact: Tensor) -> float:
    """The error of the row that is furthest off, as a share of the row."""
    return float(((result - exact).norm(dim=-1) / exact.norm(dim=-1)).max())


@KINDS
@pytest.mark.parametrize("rows", [1, 2, 7, 40])
@pytest.mark.parametrize(("outputs", "inputs"), [(512, 640), (33, 64), (1_024, 3_072)])
def test_a_product_is_nearly_that_of_float32(
    kind: type[Any], rows: int, outputs: int, inputs: int
) -> None:
    weight, given = noise(outputs, inputs), noise(rows, inputs, seed=1)
    given[1:][-1:] *= 1e-4
    exact = given @ weight.t()
    matrix = kind(weight)
    assert error(matrix.product(given), exact) < BOUNDS[kind]
    norms = given.norm(dim=1, keepdim=True)
    assert error(matrix.quotient(given, norms), exact / norms) < BOUNDS[kind]
    hidden = noise(rows, outputs, seed=2)
    before = hidden.clone()
    matrix.add_product(hidden, given)
    assert error(hidden[:1] - before[:1], exact[:1]) < BOUNDS[kind]


@KINDS
@pytest.mark.parametrize("rows", [0, 1, 3, 257])
@pytest.mark.parametrize(("outputs", "inputs"), [(1, 1), (64, 33), (3, 5), (70, 1_001), (257, 63)])
def test_no_size_is_too_odd(kind: type[Any], rows: int, outputs: int, inputs: int) -> None:
    weight, given = noise(outputs, inputs), noise(rows, inputs, seed=1)
    exact = given @ weight.t()
    product = kind(weight).product(given)
    assert product.shape == exact.shape
    assert float((product - exact).norm()) <= 2 * BOUNDS[kind] * float(exact.norm())


@KINDS
def test_inputs_may_lie_anywhere(kind: type[Any]) -> None:
    matrix, given = kind(noise(40, 64)), noise(64, 30, seed=1)
    expected = matrix.product(given.t().contiguous())
    close = partial(torch.testing.assert_close, atol=0.1, rtol=0.02)  # of numbers of about 8
    close(matrix.product(given.t()), expected)
    close(matrix.product(given.t()[::2]), expected[::2])


@KINDS
def test_a_large_input_costs_the_others_little(kind: type[Any]) -> None:
    weight, given = noise(512, 1_024), noise(1, 1_024, seed=1)
    given[0, 3] = 100.0  # trained models have such channels
    weight[:, 3] = 0
    exact = given @ weight.t()
    assert error(kind(weight).product(given), exact) < BOUNDS[kind] + 0.005


@KINDS
def test_rows_do_not_depend_on_each_other(kind: type[Any]) -> None:
    matrix, given = kind(noise(256, 640)), noise(5, 640, seed=1)
    given[1] *= 1_000
    given[2] = 0
    given[3, 7] = math.nan
    together = matrix.product(given)
    assert not together[2].any()
    assert not together[3].isfinite().any()
    norms = torch.linalg.vector_norm(given, dim=1, keepdim=True)
    assert not matrix.quotient(given, norms)[3].isfinite().any()
    for row in (0, 1, 4):
        alone = matrix.product(given[row : row + 1])
        torch.testing.assert_close(
            alone[0], together[row], rtol=2e-2, atol=1e-3 * float(norms[row])
        )


@KINDS
def test_the_largest_sums_do_not_overflow(kind: type[Any]) -> None:
    weight, given = torch.ones(64, 1_024), torch.ones(3, 1_024)
    weight[1], given[1] = -1, -1
    assert error(kind(weight).product(given), given @ weight.t()) < BOUNDS[kind]


def test_a_norm_becomes_a_part_of_the_matrix(packer: Packer) -> None:
    linears = [nn.Linear(640, each, bias=True) for each in (512, 256)]
    norm = nn.Module()
    norm.weight = nn.Parameter(noise(640, seed=3).abs() + 0.5)
    norm.variance_epsilon = 1e-3  # type: ignore[assignment]
    given = noise(3, 640, seed=4)
    given[1] *= 0.01  # where the epsilon matters
    given[2] = 0
    mean = given.square().mean(dim=1, keepdim=True)
    normed = given * (mean + 1e-3).rsqrt() * norm.weight
    exact = torch.cat([linear(normed) for linear in linears], dim=1)
    projection = packer.pack(*linears, norm=norm)
    assert error(projection(given), exact) < LAYER_BOUNDS[packer.weights]
    assert all(linear.weight.device.type == "meta" for linear in linears)


def test_the_layers_weights_can_be_kept() -> None:
    linear = nn.Linear(64, 64)
    weight = linear.weight.clone()
    Packer(WeightFormat.FLOAT32).pack(linear, frees=False)
    assert torch.equal(linear.weight, weight)


@pytest.mark.parametrize("shape", ["miniature", "odd", "true"])
def test_a_layer_adds_nearly_what_it_adds_in_float32(packer: Packer, shape: str) -> None:
    layer, given, angles, exact = expected_of(shape)
    packed = PackedLayer(layer, packer, frees=False)
    ours = passed(packed, given, lambda new: packed.rotary(angles[0][new], angles[1][new]))
    assert error(ours - given, exact - given) < LAYER_BOUNDS[packer.weights]


@cache
def expected_of(shape: str) -> tuple[Any, Tensor, tuple[Tensor, Tensor], Tensor]:
    """A layer, states that pass through it, their rotary embedding, and what the layer makes."""
    sizes: dict[str, Any] = {"miniature": MINIATURE, "odd": ODD_SHAPE, "true": TRUE_SHAPE}[shape]
    with torch.inference_mode(mode=False):
        model = one_layer(sizes)
    given = noise(40, sizes["hidden_size"], seed=5)
    cosines, sines = model.rotary_emb(given, torch.arange(40).expand(3, 1, -1))
    angles = cosines[0, 0], signed_sines(sines[0, 0])
    layer = model.layers[0]
    exact = passed(TransformerLayer(layer), given, lambda new: (angles[0][new], angles[1][new]))
    return layer, given, angles, exact


def one_layer(sizes: dict[str, Any]) -> Any:
    """The package's talker with a single layer, of random weights."""
    small = {
        "num_hidden_layers": 1,
        "vocab_size": 1_100,
        "text_vocab_size": 1,
        "num_code_groups": 2,
    }
    predictor = {"num_code_groups": 2, "hidden_size": 64, "num_hidden_layers": 1, "vocab_size": 8}
    config = Qwen3TTSTalkerConfig(**small, **sizes, code_predictor_config=predictor)
    config._attn_implementation = "sdpa"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Qwen3TTSTalkerForConditionalGeneration(config).eval().model
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name:
                weight.uniform_(0.5, 2)
            elif name.endswith("bias"):
                weight.normal_()
    return model


def passed(layer: Any, given: Tensor, angles: Any) -> Tensor:
    """Pass a prompt through a layer, and then one position after the other."""
    keys, values = torch.zeros(2, 1, layer.key_heads, len(given), layer.head_dim)
    results = []
    for start, end in [(0, 30), (30, 33), *((each, each + 1) for each in range(33, len(given)))]:
        mask = causal_mask(end - start, start, layer.queries_per_key, given)
        view = PrefillView(keys, values, start, end)
        results.append(layer(given[start:end], 1, angles(slice(start, end)), view, mask))
    return torch.cat(results)


@pytest.mark.parametrize(
    ("weights", "kernel", "failure"),
    [
        (WeightFormat.BFLOAT16, "HalfMatrix", RuntimeError),
        (WeightFormat.INT8, "SplitInt8Matrix", AttributeError),
    ],
)
def test_another_kernel_is_used_where_one_is_lacking(
    weights: WeightFormat, kernel: str, failure: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_weight: Tensor) -> Any:
        raise failure("no such kernel")

    monkeypatch.setattr(packing, kernel, fail)
    monkeypatch.setattr(packing, "fastest_kind", packing.fastest_kind.__wrapped__)
    linear, given = nn.Linear(640, 512, bias=False), noise(2, 640)
    exact = linear(given)
    assert error(Packer(weights).pack(linear)(given), exact) < 0.012


def test_kernels_are_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for weights in WeightFormat:
        Packer(weights)

    def fail(_kinds: object) -> Any:
        raise AssertionError("measured again")

    monkeypatch.setattr(packing, "_fastest", fail)
    for weights in WeightFormat:
        Packer(weights)
