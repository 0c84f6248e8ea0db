"""Checkpoints of the published shapes with random weights, and engines that load them."""

from __future__ import annotations

import gc
import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from backend.contract import MAX_NEW_TOKENS, REFERENCE_SAMPLE_RATE, SpeechRequest
from backend.engine.batch import Batch, Row
from backend.engine.cuda_graphs import CudaGraphRecorder
from backend.engine.engine import Engine
from backend.engine.loading import load_model
from backend.engine.prefill_step import usual_prompts
from backend.engine.step_graphs import StepGraphs, StepSize, capture_steps
from benchmarks.decoding.checkpoints import PLANS
from benchmarks.decoding.memory_limit import PUBLISHED
from benchmarks.gpu.texts import TEXTS, TRANSCRIPT
from benchmarks.our_service import CONSENT
from tests.support.buzz import buzz
from tests.support.miniature import build_miniature

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from backend.contract import VoicePrompt
    from backend.watermark.watermark import Watermarker

_REHEARSED_POSITIONS = 384
_RESERVED_BYTES = 24e9  # for the plain package, and for another engine beside it


def reference(pitch: float = 110.0, seconds: float = 3.0) -> NDArray[np.float32]:
    """Return a voice of sorts, with the half second of silence behind it that cloning adds."""
    silence = np.zeros(REFERENCE_SAMPLE_RATE // 2, np.float32)
    return np.concatenate([buzz(pitch, seconds), silence])


class Models:
    """The checkpoints of a run, in a folder, and the engine that was loaded last.

    Args:
        folder: An empty folder.
        device: Where models run.
        is_miniature: Whether miniatures take the place of the published shapes, to rehearse.
    """

    def __init__(self, folder: Path, device: torch.device, *, is_miniature: bool) -> None:
        self.folder = folder
        self.device = device
        self.is_miniature = is_miniature
        self._loaded: tuple[tuple[str, bool], Engine] | None = None
        self._prompts: dict[tuple[str, float, bool], VoicePrompt] = {}

    def build(self, name: str) -> float:
        """Write a checkpoint, and one that decodes greedily beside it; return its gigabytes."""
        sizes: dict[str, Any] = {"end_of_speech_scale": 0.0, "code_groups": 4}
        if not self.is_miniature:
            shape = PUBLISHED[name]
            sizes = dict(PLANS["true-shape"].sizes or {})
            sizes |= {key: shape[key] for key in ("hidden_size", "intermediate_size")}
        place = self.folder / name
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.bfloat16 if self.device.type == "cuda" else torch.float32)
        try:
            with self.device:
                build_miniature(place, **sizes)
        finally:
            torch.set_default_dtype(before)
        greedy = self.folder / f"{name} greedy"
        greedy.mkdir()
        for each in place.iterdir():
            (greedy / each.name).symlink_to(each)
        config = greedy / "generation_config.json"
        defaults = json.loads(config.read_text(encoding="utf-8"))
        config.unlink()
        config.write_text(
            json.dumps({**defaults, "do_sample": False, "subtalker_dosample": False}),
            encoding="utf-8",
        )
        return sum(each.stat().st_size for each in place.rglob("*.safetensors")) / 1e9

    def remove(self, name: str) -> None:
        """Let go of a model, and delete its checkpoints."""
        self.forget()
        for each in (name, f"{name} greedy"):
            shutil.rmtree(self.folder / each, ignore_errors=True)

    def engine(self, name: str, watermark: Watermarker | None = None) -> Engine:
        """Return the engine as a container loads it, marking speech or not. It is kept."""
        wanted = name, watermark is not None
        if self._loaded is None or self._loaded[0] != wanted:
            self.forget()
            model = load_model(self.folder / name, device=str(self.device))
            self._loaded = wanted, Engine(*model, watermark=watermark)
        return self._loaded[1]

    def forget(self) -> None:
        """Let go of the engine, and of its memory."""
        self._loaded = None
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def greedy_engine(self, name: str, dtype: str) -> Engine:
        """Load an engine that decodes greedily, without graphs, to be compared with others."""
        model = load_model(self.folder / f"{name} greedy", device=str(self.device), dtype=dtype)
        return Engine(
            *model, watermark=None, cuda_graphs=False, reserved_bytes=round(_RESERVED_BYTES)
        )

    def request(
        self, engine: Engine, number: int = 0, *, is_x_vector: bool = False, pitch: float = 110.0
    ) -> SpeechRequest:
        """Return a request: its text, language and seed depend on its number."""
        info = engine.info()
        key = f"{info.model_id} {info.dtype}", pitch, is_x_vector
        if key not in self._prompts:
            words = None if is_x_vector else TRANSCRIPT
            self._prompts[key] = engine.make_prompt(reference(pitch), words, CONSENT)
        language, text = TEXTS[number % len(TEXTS)]
        return SpeechRequest(text, self._prompts[key], language=language, seed=number)


def capture(engine: Engine, sizes: Sequence[StepSize]) -> StepGraphs:
    """Capture a few sizes of an engine's step, and prompts. Without a GPU, a replay runs it."""
    if engine.step is None:
        raise ValueError("the package's own loop has no step")
    is_gpu = engine.step.is_on_gpu
    recorder = CudaGraphRecorder(is_urgent=True) if is_gpu else lambda step: step
    prompts = usual_prompts(max(size.rows for size in sizes))
    if not is_gpu:
        prompts = [each for each in prompts if each.computed <= _REHEARSED_POSITIONS]
    engine.step.prefill.capture(recorder, prompts)
    return capture_steps(engine.step, recorder, sizes)


def batch_of(
    engine: Engine,
    requests: Sequence[SpeechRequest],
    graphs: StepGraphs | None,
    repeat_prompt: int = 1,
) -> tuple[Batch[Row], list[Row]]:
    """Return a batch to which requests were added, and its rows.

    Args:
        engine: Its step is used from now on.
        requests: What the rows say, without an end.
        graphs: Captured sizes; None runs every step.
        repeat_prompt: How often each prompt is repeated, to fill more positions.
    """
    if engine.step is None:
        raise ValueError("the package's own loop has no step")
    batch = Batch[Row](engine.step, rows=len(requests), graphs=graphs)
    rows = []
    for request in requests:
        prepared = replace(engine.prepare(request), max_tokens=MAX_NEW_TOKENS // 4)
        if repeat_prompt > 1:
            prepared = replace(prepared, inputs=prepared.inputs.repeat(repeat_prompt, 1))
        rows.append(Row(prepared))
        batch.add(rows[-1])
    return batch, rows


def decode_until_all_speak(batch: Batch[Row], rows: int) -> None:
    """Decode until every row has been prefilled."""
    while len(batch.next_codes()) < rows:
        batch.decode_step()
