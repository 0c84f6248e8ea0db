"""Weights are what the file says, and take memory only while they are used."""

from __future__ import annotations

import json
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
    files = {name: f"{name}.safetensors" for name in weights}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    stored = MappedWeights(tmp_path)
    for name, weight in weights.items():
        read = stored.read(name)
        assert read.dtype == weight.dtype
        assert torch.equal(read, weight)
    with pytest.raises(KeyError):
        stored.read("another")


def test_files_that_loading_does_not_read_are_left_alone(tmp_path: Path) -> None:
    save_file({"a": torch.ones(9)}, tmp_path / "model.safetensors")
    save_file({"a": torch.zeros(4)}, tmp_path / "z-of-another-tool.safetensors")
    assert MappedWeights(tmp_path).read("a").sum() == 9


def test_a_weight_stays_when_its_file_is_replaced(tmp_path: Path) -> None:
    save_file({"a": torch.ones(9)}, tmp_path / "model.safetensors")
    weight = MappedWeights(tmp_path).read("a")
    save_file({"a": torch.zeros(2)}, tmp_path / "new")
    (tmp_path / "new").replace(tmp_path / "model.safetensors")
    assert weight.sum() == 9


def test_more_weights_are_mapped_than_files_may_be_open_at_first(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    save_file({str(each): torch.ones(1) for each in range(300)}, tmp_path / "model.safetensors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
    try:
        stored = MappedWeights(tmp_path)
        weights = [stored.read(str(each)) for each in range(300)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert sum(weights) == 300


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
