"""Projections give what the package's linear layers give, with any number of threads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from backend.engine.projection import Projection

if TYPE_CHECKING:
    from collections.abc import Iterator

OUTPUTS = [(512,), (512, 256, 256), (513,)]


@pytest.fixture(params=[1, 2, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("outputs", OUTPUTS)
@pytest.mark.parametrize("rows", [1, 2, 7, 40])
@pytest.mark.parametrize("bias", [False, True])
@torch.inference_mode()
def test_it_gives_what_the_linear_layers_give(
    threads: int, outputs: tuple[int, ...], rows: int, bias: bool
) -> None:
    linears = [nn.Linear(640, each, bias=bias) for each in outputs]
    state = torch.randn(rows, 640)
    expected = torch.cat([linear(state) for linear in linears], dim=1)
    projection = Projection.of(*linears)
    torch.testing.assert_close(projection(state), expected, rtol=0, atol=1e-5)
    again = torch.cat([linear(state) for linear in linears], dim=1)
    torch.testing.assert_close(again, expected, rtol=0, atol=1e-5)
    parts = 1 if projection._parts is None else len(projection._parts)
    assert parts == {1: (1, 1, 1), 2: (2, 2, 1), 3: (2, 2, 3)}[threads][OUTPUTS.index(outputs)]


def test_weights_are_not_held_twice() -> None:
    linears = [nn.Linear(1_024, 512), nn.Linear(1_024, 512)]
    projection = Projection.of(*linears)
    joint = projection._weight.untyped_storage().data_ptr()
    assert {each.weight.untyped_storage().data_ptr() for each in linears} == {joint}
    if projection._parts is not None:
        assert projection._parts.untyped_storage().data_ptr() == joint
