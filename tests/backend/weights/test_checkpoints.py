from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from backend.weights.checkpoints import (
    DEFAULT_MODEL_ID,
    SMALL_MODEL_ID,
    UnknownModelError,
    choose_number_format,
    find_checkpoint,
)

if TYPE_CHECKING:
    from pathlib import Path

    from backend.weights.formats import WeightChoice


@pytest.mark.parametrize(
    ("model_id", "label", "gpu"),
    [(DEFAULT_MODEL_ID, "Qwen3-TTS 1.7B", "A10G"), (SMALL_MODEL_ID, "Qwen3-TTS 0.6B", "T4")],
)
def test_the_gpu_follows_from_the_model(model_id: str, label: str, gpu: str) -> None:
    checkpoint = find_checkpoint(model_id)
    assert (checkpoint.label, checkpoint.gpus, checkpoint.folder) == (label, (gpu,), None)


def test_a_folder_serves_as_a_model(checkpoint: Path) -> None:
    found = find_checkpoint(str(checkpoint))
    assert found.folder == checkpoint
    assert found.label == "miniature"
    assert found.gpus == ("T4",)


def test_a_moved_folder_keeps_its_model_id(checkpoint: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(checkpoint, tmp_path / "miniature")
    assert find_checkpoint(str(copy)).model_id == find_checkpoint(str(checkpoint)).model_id


def test_other_weights_of_the_same_name_have_another_model_id(
    checkpoint: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(checkpoint, tmp_path / "miniature")
    weights = copy / "model.safetensors"
    changed = bytearray(weights.read_bytes())
    changed[500_000] ^= 1
    weights.write_bytes(changed)
    assert find_checkpoint(str(copy)).model_id != find_checkpoint(str(checkpoint)).model_id


@pytest.mark.parametrize("part", ["model.safetensors", "speech_tokenizer/model.safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_weights_that_differ_anywhere_have_another_model_id(
    checkpoint: Path, tmp_path: Path, part: str, share: float
) -> None:
    copy = shutil.copytree(checkpoint, tmp_path / "miniature")
    content = bytearray((copy / part).read_bytes())
    start = int(share * len(content))
    content[start : start + len(content) // 64] = bytes(len(content) // 64)
    (copy / part).write_bytes(content)
    assert find_checkpoint(str(copy)).model_id != find_checkpoint(str(checkpoint)).model_id


def test_the_published_models_are_pinned_to_a_commit() -> None:
    for model_id in (DEFAULT_MODEL_ID, SMALL_MODEL_ID):
        revision = find_checkpoint(model_id).revision
        assert revision is not None
        assert len(bytes.fromhex(revision)) == 20


@pytest.mark.parametrize("model_id", ["", "Qwen/Qwen3-TTS-12Hz-9B-Base", "/no/such/folder", "."])
def test_what_is_no_model_is_refused_with_the_choices(model_id: str) -> None:
    with pytest.raises(UnknownModelError, match=DEFAULT_MODEL_ID):
        find_checkpoint(model_id)


@pytest.mark.parametrize(
    ("capability", "dtype", "word"),
    [
        (None, "float32", "CPU"),
        ((7, 5), "float32", "overflow"),  # T4
        ((8, 0), "bfloat16", "GPU has it"),  # A100
        ((8, 6), "bfloat16", "GPU has it"),  # A10G
        ((9, 0), "bfloat16", "GPU has it"),  # H100
    ],
)
def test_the_number_format_suits_the_device(
    capability: tuple[int, int] | None, dtype: str, word: str
) -> None:
    chosen = choose_number_format(capability)
    assert chosen.dtype == dtype
    assert word in chosen.reason


@pytest.mark.parametrize(
    ("capability", "weights", "dtype", "word"),
    [
        ((7, 5), "float32", "float32", "asked"),
        ((7, 5), "bfloat16", "float32", "lacks bfloat16"),
        ((7, 5), "int8", "float32", "int8 is for processors"),
        ((9, 0), "float32", "float32", "asked"),
        ((9, 0), "bfloat16", "bfloat16", "asked"),
        ((9, 0), "int8", "bfloat16", "int8 is for processors"),
        (None, "bfloat16", "bfloat16", "asked"),
        (None, "int8", "float32", "own loop has no int8"),
    ],
)
def test_another_number_format_is_taken_where_the_device_has_it(
    capability: tuple[int, int] | None, weights: WeightChoice, dtype: str, word: str
) -> None:
    chosen = choose_number_format(capability, weights)
    assert chosen.dtype == dtype
    assert word in chosen.reason
