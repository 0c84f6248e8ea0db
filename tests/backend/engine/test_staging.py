"""A model that was read into main memory and moved is what loading it there would have made."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from backend.contract import SpeechRequest
from backend.engine.engine import Engine
from backend.engine.loading import load_model
from backend.engine.staging import _move, place_model, stage_model
from tests.backend.engine.speaking import speak
from tests.support.buzz import buzz

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backend.contract import ConsentRecord
    from backend.weights.formats import WeightChoice

ROOT = Path(__file__).resolve().parents[3]


def tensors(model: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor of a model, also those that torch does not know as weights."""
    for part in (model.model, model.model.speech_tokenizer.model):
        for path, module in part.named_modules():
            held = {**module._parameters, **module._buffers, **vars(module)}
            for name, value in held.items():
                if isinstance(value, torch.Tensor):
                    yield f"{type(part).__name__}.{path}.{name}", value


@pytest.mark.parametrize("weights", ["auto", "float32", "bfloat16"])
def test_every_tensor_is_what_loading_at_once_makes_of_it(
    checkpoint: Path, weights: WeightChoice
) -> None:
    staged = stage_model(checkpoint, model_id="mine", revision=None)
    placed, info = place_model(staged, "cpu", weights)
    loaded, _ = load_model(checkpoint, device="cpu", dtype=info.weights)
    of_loaded = dict(tensors(loaded))
    of_placed = dict(tensors(placed))
    assert of_placed.keys() == of_loaded.keys()
    for name, tensor in of_placed.items():
        assert tensor.dtype == of_loaded[name].dtype, name
        assert torch.equal(tensor, of_loaded[name]), name
    assert info.weights == ("bfloat16" if weights == "bfloat16" else "float32")
    assert (info.model_id, info.codec_dtype, info.loop) == ("mine", "float32", "timbre")


def test_nothing_is_left_behind(checkpoint: Path) -> None:
    # torch's device "meta" holds shapes alone, and stands for a GPU here.
    staged = stage_model(checkpoint, model_id="mine", revision=None)
    model = staged.package_model
    meta = torch.device("meta")
    _move(model.model, meta, torch.bfloat16)
    _move(model.model.speech_tokenizer.model, meta, torch.float32)
    left = {name for name, tensor in tensors(model) if tensor.device != meta and tensor.ndim}
    # What is no weight and isn't computed with stays, as it does in `Module.to`. So do numbers.
    assert {name.rpartition(".")[-1] for name in left} == {"original_inv_freq"}


def test_no_weight_is_only_mapped_from_its_file(checkpoint: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoint, tmp_path / "mine")
    staged = stage_model(folder, model_id="mine", revision=None)
    mapped = [
        tuple(int(address, 16) for address in line.split()[0].split("-"))
        for line in Path("/proc/self/maps").read_text("utf-8").splitlines()
        if str(folder) in line
    ]
    held = {name: tensor.data_ptr() for name, tensor in tensors(staged.package_model)}
    assert held
    assert not {name for name, at in held.items() for begin, end in mapped if begin <= at < end}, (
        "a snapshot would not hold it"
    )


def test_it_speaks_the_same(checkpoint: Path, consent: ConsentRecord) -> None:
    placed = place_model(stage_model(checkpoint, model_id="mine", revision=None), "cpu", "float32")
    loaded = load_model(checkpoint, model_id="mine", device="cpu", dtype="float32")
    staged, at_once = (Engine(*each, watermark=None) for each in (placed, loaded))
    prompt = staged.make_prompt(buzz(110), "Words.", consent)
    request = SpeechRequest("Hello there.", prompt, "English", seed=1)
    [said], [expected] = speak(staged, [request]), speak(at_once, [request])
    assert isinstance(said, np.ndarray)
    assert isinstance(expected, np.ndarray)
    assert len(said)
    assert np.array_equal(said, expected)


def test_the_driver_is_not_asked_for_a_gpu_before_there_is_one(checkpoint: Path) -> None:
    code = (
        "import sys, torch\n"
        "from pathlib import Path\n"
        "asked = []\n"
        "torch._C._cuda_getDeviceCount = lambda: asked.append(1) or 0\n"
        "from backend.loading import ServiceOptions, stage_model\n"
        "staged = stage_model(ServiceOptions(sys.argv[1], Path(), transcriber=None))\n"
        "assert staged is not None and 'faster_whisper' in sys.modules\n"
        "assert not asked, 'it would find no GPU ever after'\n"
        "torch.cuda.is_available()\n"
        "assert asked, 'now it is asked again'\n"
    )
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code, str(checkpoint)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
