"""Whole batches and streams of an engine, over the loop that it opens."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from backend.contract import MAX_NEW_TOKENS, SpeechError, SpeechRequest
from backend.engine.batch import Batch
from backend.engine.chunk_plan import CPU_PLAN
from backend.engine.decode_step import DecodeStep
from backend.engine.generation import GenerationLoop
from backend.engine.interface import SpeechChunk
from backend.engine.kv_cache import ROW_POSITIONS
from backend.engine.speech_row import SpeechRow
from tests.backend.conftest import TRANSCRIPT
from tests.support.buzz import buzz

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from numpy.typing import NDArray

    from backend.contract import ConsentRecord
    from backend.engine.chunk_plan import ChunkPlan
    from backend.engine.codec.decoder import CodecDecoder
    from backend.engine.engine import Engine
    from backend.engine.package_loop import PackageLoop
    from backend.engine.prefill_plan import PrefillPlan
    from backend.watermark.watermark import Watermarker


class Speaker(Protocol):
    """Opens loops, as an engine does."""

    def open(self, rows: int) -> GenerationLoop | PackageLoop:
        """Return a loop for so many requests."""


class Ahead:
    """An engine that launches its steps as on a GPU.

    Args:
        engine: What it speaks with.
        codec: Decodes its frames; None is the engine's.
        plan: How many frames are decoded to samples at a time.
        prefill: Which prompts are prefilled when; None is as on a CPU.
        watermark: Marks the speech; with None it stays unmarked.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        codec: CodecDecoder | None = None,
        plan: ChunkPlan = CPU_PLAN,
        prefill: PrefillPlan | None = None,
        watermark: Watermarker | None = None,
    ) -> None:
        self._engine = engine
        self._watermark = watermark
        self._codec = codec or engine.codec
        self._plan = plan
        self._prefill = prefill
        self._step = DecodeStep(
            engine.parts, rows=8, positions=ROW_POSITIONS, max_tokens=MAX_NEW_TOKENS
        )

    def open(self, rows: int) -> GenerationLoop:
        batch = Batch[SpeechRow](self._step, rows=rows, is_ahead=True, prefill=self._prefill)
        return GenerationLoop(self._engine.prepare, batch, self._codec, self._watermark, self._plan)


def stream(
    engine: Speaker,
    requests: Sequence[SpeechRequest],
    *,
    is_cancelled: Callable[[int], bool] = lambda _row: False,
) -> Generator[SpeechChunk, None, None]:
    """Speak requests together, chunk by chunk; chunks carry the indices of their requests."""
    loop = engine.open(max(1, len(requests)))
    indices: dict[int, int] = {}
    for index, request in enumerate(requests):
        try:
            indices[loop.add(request)] = index
        except SpeechError as error:
            yield SpeechChunk(index, np.zeros(0, np.float32), is_last=True, error=error)
    while loop.rows:
        for number, index in indices.items():
            if is_cancelled(index):
                loop.remove(number)
        for chunk in loop.step():
            yield replace(chunk, row=indices[chunk.row])


def speak(
    engine: Speaker, requests: Sequence[SpeechRequest]
) -> list[NDArray[np.float32] | SpeechError]:
    """Speak requests together; return each one's whole speech, or its error."""
    pieces: list[list[NDArray[np.float32]]] = [[] for _ in requests]
    errors: dict[int, SpeechError] = {}
    for chunk in stream(engine, requests):
        if chunk.restarts:
            pieces[chunk.row].clear()
        pieces[chunk.row].append(chunk.samples)
        if chunk.error is not None:
            errors[chunk.row] = chunk.error
    return [errors.get(row) or np.concatenate(said) for row, said in enumerate(pieces)]


def sentences(
    engine: Engine, consent: ConsentRecord, count: int, *, first_seed: int
) -> list[SpeechRequest]:
    """Short sentences, each in a voice and with a seed of its own, every other one by x-vector."""
    prompts = [
        engine.make_prompt(buzz(100 + 30 * row), TRANSCRIPT if row % 2 else None, consent)
        for row in range(count)
    ]
    return [
        SpeechRequest(f"Sentence {row}.", prompt, seed=first_seed + row, max_new_tokens=400)
        for row, prompt in enumerate(prompts)
    ]
