"""Weights are what the file says, and take memory only while they are used."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file, save_file

from backend.engine.packed.mapped_weights import MappedWeights

if TYPE_CHECKING:
    from torch import Tensor

STATM = Path("/proc/self/statm")


def test_each_weight_is_what_the_package_reads(checkpoint: Path) -> None:
    stored = MappedWeights(checkpoint)
    for name, weight in load_file(checkpoint / "model.safetensors").items():
        assert stored.dtype(name) == weight.dtype
        assert torch.equal(stored.read(name), weight), name


def test_every_number_format_and_shape_is_read_from_several_files(tmp_path: Path) -> None:
    numbers = torch.arange(-3.0, 3.0, 0.25)
    weights: dict[str, Tensor] = {
        "whole": numbers.bfloat16(),
        "table": numbers.half().view(4, 6),
        "deep": numbers.double().view(2, 3, 4),
        "one": torch.tensor(2.5),
        "nothing": torch.empty(0, 7),
    }
    for name, weight in weights.items():
        save_file({name: weight}, tmp_path / f"{name}.safetensors")
    stored = MappedWeights(tmp_path)
    for name, weight in weights.items():
        read = stored.read(name)
        assert read.dtype == weight.dtype
        assert torch.equal(read, weight)
    with pytest.raises(KeyError):
        stored.read("another")


def test_writing_into_a_weight_leaves_the_file_alone(tmp_path: Path) -> None:
    save_file({"a": torch.ones(9)}, tmp_path / "model.safetensors")
    stored = MappedWeights(tmp_path)
    stored.read("a").zero_()
    assert stored.read("a").eq(1).all()


@pytest.mark.skipif(not STATM.exists(), reason="this system does not tell what memory is used")
def test_memory_is_taken_when_a_weight_is_used_and_given_back_with_it(tmp_path: Path) -> None:
    def used_megabytes() -> float:
        return int(STATM.read_text().split()[1]) * resource.getpagesize() / 1e6

    weights = {name: torch.ones(4_000_000) for name in "abc"}  # 16 MB each
    save_file(weights, tmp_path / "model.safetensors")
    del weights
    stored = MappedWeights(tmp_path)
    before = used_megabytes()
    read = {name: stored.read(name) for name in "abc"}
    assert used_megabytes() - before < 4
    for name in "abc":
        assert read[name].sum() == 4_000_000
        assert used_megabytes() - before > 14
        del read[name]
        assert used_megabytes() - before < 4
