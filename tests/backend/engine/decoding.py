"""Rows for a batch, and when they are added to it and removed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import torch

from backend.contract import ConsentRecord, SpeechRequest
from backend.engine.batch import Batch, Row
from backend.engine.decode_step import DecodeStep
from tests.backend.conftest import TRANSCRIPT
from tests.support.buzz import buzz

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from backend.engine.engine import Engine
    from backend.engine.prefill_plan import PrefillPlan
    from backend.engine.prompt_embeds import PreparedRequest

CONSENT = ConsentRecord(1, datetime(2026, 1, 1, tzinfo=UTC), "2026-01")
PITCHES = (100, 140, 190, 240)


def step_of(engine: Engine, *, rows: int = 4, positions: int = 1_024) -> DecodeStep:
    """The decode step of an engine, in memory of its own."""
    return DecodeStep(engine.parts, rows=rows, positions=positions, max_tokens=64)


def batch_of(
    engine: Engine, *, rows: int = 4, is_ahead: bool = False, prefill: PrefillPlan | None = None
) -> Batch[Row]:
    """An empty batch of an engine, in memory of its own."""
    return Batch(step_of(engine, rows=rows), is_ahead=is_ahead, prefill=prefill)


def different_requests(engine: Engine, names: Iterable[str]) -> dict[str, PreparedRequest]:
    """Requests in different voices and modes, with texts of different lengths."""
    requests = {}
    for number, name in enumerate(names):
        reference = buzz(PITCHES[number % len(PITCHES)], seconds=3 + number % 3)
        prompt = engine.make_prompt(reference, None if number % 2 else TRANSCRIPT, CONSENT)
        text = f"Sentence {name} " * (1 + 2 * number)
        request = SpeechRequest(text, prompt, seed=number, max_new_tokens=64)
        requests[name] = engine.prepare(request)
    return requests


def decode(
    batch: Batch[Row], requests: Mapping[str, PreparedRequest], when: Mapping[str, range]
) -> dict[str, torch.Tensor]:
    """Add and remove rows at certain frames; return the codes of each, `(frames, code_groups)`.

    No row ends by itself: the end of speech is a code like any other.

    Args:
        batch: An empty one.
        requests: What the rows are made of.
        when: Each row is added before the frame that its range starts with, and removed before the
            one that it stops at. A row whose prefill takes several frames decodes later.
    """
    said: dict[str, list[torch.Tensor]] = {name: [] for name in when}
    present: dict[str, Row] = {}
    for frame in range(max(each.stop for each in when.values())):
        for name, frames in when.items():
            if frame == frames.stop:
                batch.remove(present.pop(name))
            if frame == frames.start:
                present[name] = Row(requests[name])
                batch.add(present[name])
        batch.next_codes()
        names = {row: name for name, row in present.items()}
        for row, codes in batch.decode_step():
            said[names[row]].append(codes)
    return {name: torch.stack(codes) for name, codes in said.items() if codes}


def codes_until_the_end(
    engine: Engine, requests: Iterable[SpeechRequest], frames: int
) -> list[torch.Tensor]:
    """The frames of each request until it ends, at most so many: `(frames, code_groups)`."""
    step = DecodeStep(engine.parts, rows=8, positions=2_048, max_tokens=frames + 1)
    batch = Batch[Row](step)
    rows = [Row(replace(engine.prepare(each), max_tokens=frames + 1)) for each in requests]
    said: dict[Row, list[torch.Tensor]] = {row: [] for row in rows}
    for row in rows:
        batch.add(row)
    under_way = set(rows)
    while under_way:
        for row, code in batch.next_codes():
            if code == batch.end_of_speech or len(said[row]) == frames:
                batch.remove(row)
                under_way.remove(row)
        for row, codes in batch.decode_step():
            said[row].append(codes)
    return [torch.stack(codes) for codes in said.values()]
