"""Whole batches and streams of an engine, over the loop that it opens."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from backend.contract import SpeechError
from backend.engine.interface import SpeechChunk

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from numpy.typing import NDArray

    from backend.contract import SpeechRequest
    from backend.engine.engine import Engine


def stream(
    engine: Engine,
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
    engine: Engine, requests: Sequence[SpeechRequest]
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
