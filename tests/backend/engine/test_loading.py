"""Loading: what is chosen for the machine, and what is refused."""

from __future__ import annotations

import json
import logging
import shutil
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from backend.contract import LANGUAGES, BackendUnavailableError, SpeechRequest
from backend.engine import loading
from backend.weights.checkpoints import NumberFormat, UnknownModelError, find_checkpoint
from tests.backend.conftest import TRANSCRIPT, load, make_checkpoint, spoken
from tests.backend.engine.speaking import speak
from tests.support.buzz import buzz

if TYPE_CHECKING:
    from pathlib import Path

    from backend.contract import ConsentRecord
    from backend.engine.engine import Engine

BFLOAT16 = NumberFormat("bfloat16", "")
FLOAT32 = NumberFormat("float32", "")
GPU = torch.device("cuda:0")
CPU = torch.device("cpu")


def test_info_says_what_is_loaded_on_what(engine: Engine, checkpoint: Path) -> None:
    info = engine.info()
    assert info.model_id == find_checkpoint(str(checkpoint)).model_id
    assert (info.device, info.device_name, info.dtype) == ("cpu", "CPU", "float32")
    assert (info.loop, info.attention, info.codec_attention) == ("timbre", "sdpa", "sdpa")
    assert info.languages == LANGUAGES
    assert 2e6 < info.memory_bytes < 10e6
    assert info.load_seconds > 0
    assert info.versions["qwen-tts"] == "0.1.1"


def test_attention_kernels_that_plan_for_each_length_are_left_out(checkpoint: Path) -> None:
    kernels: Any = torch.backends.cuda
    kernels.enable_cudnn_sdp(enabled=True)
    load(checkpoint)
    assert not kernels.cudnn_sdp_enabled()
    assert kernels.flash_sdp_enabled()
    assert kernels.mem_efficient_sdp_enabled()
    assert kernels.math_sdp_enabled()


def test_loading_is_logged_in_one_line(checkpoint: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "backend"):
        load(checkpoint)
    (line,) = [
        record.getMessage() for record in caplog.records if record.name.startswith("backend")
    ]
    for words in (
        "miniature",
        "CPU",
        "GB",
        "float32",
        "timbre loop with sdpa attention (float32 and sdpa in the codec)",
        "text before the speech",
        "CUDA graphs off (there is no GPU)",
        " s",
    ):
        assert words in line


@pytest.fixture
def brief_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A miniature that says a few frames in either number format."""
    return make_checkpoint(tmp_path_factory, "brief", end_of_speech_scale=4.0)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("plain_package", "offered", "loop", "attention"),
    [
        (False, "eager", "timbre", "sdpa"),
        (True, "sdpa", "reference", "sdpa"),
        (True, "eager", "reference", "eager"),
    ],
)
def test_every_choice_speaks_and_is_reported(
    brief_checkpoint: Path,
    consent: ConsentRecord,
    monkeypatch: pytest.MonkeyPatch,
    dtype: str,
    plain_package: bool,
    offered: str,
    loop: str,
    attention: str,
) -> None:
    monkeypatch.setattr(loading, "attention_choices", lambda *_: (offered,))
    engine = load(brief_checkpoint, dtype=dtype, plain_package=plain_package)
    info = engine.info()
    assert (info.dtype, info.loop, info.attention) == (dtype, loop, attention)
    assert (info.codec_dtype, info.codec_attention) == ("float32", "sdpa")
    prompts = [engine.make_prompt(buzz(110), words, consent) for words in (TRANSCRIPT, None)]
    requests = [SpeechRequest("Hello.", prompt, seed=2) for prompt in prompts]
    for speech in speak(engine, requests):
        assert 0.01 < spoken(speech).std() < 1


def test_the_codec_keeps_the_weights_that_were_published(brief_checkpoint: Path) -> None:
    codec = load(brief_checkpoint, dtype="bfloat16").package_model.model.speech_tokenizer.model
    published = load_file(brief_checkpoint / "speech_tokenizer" / "model.safetensors")
    for name, weight in codec.state_dict().items():
        assert torch.equal(weight, published[name]), name


def test_the_next_attention_is_tried_if_one_does_not_work(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    choices = ("flash_attention_2", "sdpa", "eager")
    monkeypatch.setattr(loading, "attention_choices", lambda *_: choices)
    assert load(checkpoint, plain_package=True).info().attention == "sdpa"
    assert "flash_attention_2 does not work here" in caplog.text


def test_flash_attention_is_tried_first_where_it_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flash_attn", ModuleType("flash_attn"))
    assert loading.attention_choices(GPU, BFLOAT16) == ("flash_attention_2", "sdpa", "eager")
    assert loading.attention_choices(GPU, FLOAT32) == ("sdpa", "eager")
    assert loading.attention_choices(CPU, BFLOAT16) == ("sdpa", "eager")


def test_flash_attention_is_not_tried_where_it_does_not_import(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "flash_attn", None)  # as if installed, but broken
    assert loading.attention_choices(GPU, BFLOAT16) == ("sdpa", "eager")


def test_a_copy_of_published_weights_has_their_name(
    checkpoint: Path, consent: ConsentRecord
) -> None:
    engine = load(checkpoint, model_id="Qwen/Qwen3-TTS-12Hz-0.6B-Base", revision="abc123")
    info = engine.info()
    assert (info.model_id, info.revision) == ("Qwen/Qwen3-TTS-12Hz-0.6B-Base", "abc123")
    assert b"abc123" in engine.make_prompt(buzz(110), None, consent).data


def test_a_folder_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownModelError):
        load(tmp_path)


@pytest.mark.parametrize("missing", ["model.safetensors", "speech_tokenizer", "vocab.json"])
def test_an_incomplete_checkpoint_is_refused(
    checkpoint: Path, tmp_path: Path, missing: str
) -> None:
    copy = shutil.copytree(checkpoint, tmp_path / "copy")
    if missing == "speech_tokenizer":
        shutil.rmtree(copy / missing)
    elif missing == "vocab.json":
        for file in (missing, "tokenizer.json", "merges.txt"):
            (copy / file).unlink()
    else:
        (copy / missing).unlink()
    with pytest.raises(BackendUnavailableError):
        load(copy)


@pytest.mark.parametrize("part", ["model.safetensors", "speech_tokenizer/model.safetensors"])
def test_a_checkpoint_without_some_of_its_weights_is_refused(
    checkpoint: Path, tmp_path: Path, part: str
) -> None:
    copy = shutil.copytree(checkpoint, tmp_path / "copy")
    weights = load_file(copy / part)
    del weights[max(weights)]
    save_file(weights, copy / part, {"format": "pt"})
    with pytest.raises(BackendUnavailableError, match="lacks 1 of its weights"):
        load(copy)


@pytest.mark.parametrize("part", ["model.safetensors", "speech_tokenizer/model.safetensors"])
def test_a_checkpoint_whose_weights_are_cut_off_is_refused(
    checkpoint: Path, tmp_path: Path, part: str
) -> None:
    copy = shutil.copytree(checkpoint, tmp_path / "copy")
    with (copy / part).open("r+b") as file:
        file.truncate(100_000)
    with pytest.raises(BackendUnavailableError, match="can't be loaded"):
        load(copy)


def test_missing_defaults_are_those_of_the_package(checkpoint: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(checkpoint, tmp_path / "copy")
    nothing = {"top_p": None, "temperature": None, "repetition_penalty": None}
    (copy / "generation_config.json").write_text(json.dumps(nothing))
    assert load(copy).info().languages


def test_a_checkpoint_that_does_not_clone_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(checkpoint, tmp_path / "copy")
    config = json.loads((copy / "config.json").read_text())
    config["tts_model_type"] = "custom_voice"
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(BackendUnavailableError, match="Base"):
        load(copy)
