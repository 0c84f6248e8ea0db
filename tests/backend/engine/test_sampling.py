"""Codes are sampled as transformers does it, and rounding changes none."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers.generation.logits_process import (
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from backend.engine.sampling import Sampling


@pytest.mark.parametrize("top_p", [1.0, 0.9])
def test_rounding_that_swaps_two_equally_likely_codes_changes_no_sample(top_p: float) -> None:
    sampling = Sampling(do_sample=True, temperature=0.9, top_k=50, top_p=top_p)
    logits = torch.randn(1, 120, generator=torch.Generator().manual_seed(1))
    logits[0, 24], logits[0, 58] = 1.5683333, 1.5683345
    other = logits.clone()
    other[0, 24] += 2e-6
    uniforms = (torch.arange(10_000) + 0.5) / 10_000
    sampled, other_sampled = (
        sampling.sample(each.expand(len(uniforms), -1), uniforms) for each in (logits, other)
    )
    assert (sampled == other_sampled).all()
    assert {24, 58} <= set(sampled.tolist())


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(do_sample=True, temperature=0.9, top_k=50, top_p=1.0),
        Sampling(do_sample=True, temperature=1.7, top_k=5, top_p=0.8),
        Sampling(do_sample=True, temperature=0.3, top_k=0, top_p=0.5),
        Sampling(do_sample=True, temperature=1.0, top_k=900, top_p=1.0),
        Sampling(do_sample=True, temperature=1.0, top_k=50, top_p=0.0),
    ],
)
def test_codes_have_the_probabilities_of_transformers(sampling: Sampling) -> None:
    logits = torch.randn(1, 120, generator=torch.Generator().manual_seed(1)) * 2
    warpers: Any = LogitsProcessorList([TemperatureLogitsWarper(sampling.temperature)])
    if sampling.top_k:
        warpers.append(TopKLogitsWarper(sampling.top_k))
    warpers.append(TopPLogitsWarper(sampling.top_p))
    expected = torch.softmax(warpers(None, logits), dim=-1)[0]
    grid = (torch.arange(20_000) + 0.5) / 20_000
    sampled = sampling.sample(logits.expand(len(grid), -1), grid)
    shares = torch.bincount(sampled, minlength=120) / len(grid)
    torch.testing.assert_close(shares, expected, atol=2e-4, rtol=0)


@pytest.mark.parametrize("top_p", [1.0, 0.9])
def test_a_row_without_numbers_does_not_change_the_others(top_p: float) -> None:
    sampling = Sampling(do_sample=True, temperature=0.9, top_k=50, top_p=top_p)
    logits = torch.randn(3, 120, generator=torch.Generator().manual_seed(1))
    uniforms = torch.tensor([0.2, 0.5, 0.8])
    expected = sampling.sample(logits, uniforms)
    logits[1, 7] = torch.nan
    sampled = sampling.sample(logits, uniforms)
    assert sampled[[0, 2]].tolist() == expected[[0, 2]].tolist()
    assert 0 <= sampled[1] < 120


def scan_as_a_gpu_does(each: torch.Tensor, dim: int, dtype: torch.dtype | None = None) -> Any:
    """A sum in parallel, in which every element is rounded in another order."""
    assert dim == -1
    summed = each.to(dtype or each.dtype)
    step = 1
    while step < each.shape[-1]:
        summed = torch.cat([summed[:, :step], summed[:, step:] + summed[:, :-step]], dim=-1)
        step *= 2
    return summed


def test_rounding_never_samples_a_code_that_is_ruled_out(monkeypatch: pytest.MonkeyPatch) -> None:
    sampling = Sampling(do_sample=True, temperature=1.0, top_k=0, top_p=1.0)
    logits = torch.randn(1, 300, generator=torch.Generator().manual_seed(1))
    logits[
        :, 200:299
    ] = -torch.inf  # before the last, as control codes are before the end of speech
    monkeypatch.setattr(torch.Tensor, "cumsum", scan_as_a_gpu_does)
    until_there = torch.softmax(logits, dim=-1)[0, :200].sum().item()
    uniforms = until_there + torch.arange(-20, 20) * 2**-24
    sampled = sampling.sample(logits.expand(len(uniforms), -1), uniforms)
    assert set(sampled.tolist()) == {199, 299}
