"""Rows for a decoder, and when they join and leave it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

import torch

from backend.contract import ConsentRecord, SpeechRequest
from backend.engine.batch import Decoder
from backend.engine.sampling import draw
from tests.backend.conftest import TRANSCRIPT, buzz

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from backend.engine.batch import DecoderRow
    from backend.engine.engine import Engine
    from backend.engine.prompt_embeds import LaidOutRequest

CONSENT = ConsentRecord(1, datetime(2026, 1, 1, tzinfo=UTC), "2026-01")
PITCHES = (100, 140, 190, 240)


class Part(NamedTuple):
    """What a row reads, and its chance."""

    request: LaidOutRequest
    draws: torch.Tensor


def company(engine: Engine, names: Iterable[str], *, frames: int = 64) -> dict[str, Part]:
    """Rows in different voices and modes, with texts of different lengths."""
    rows = {}
    for number, name in enumerate(names):
        reference = buzz(PITCHES[number % len(PITCHES)], seconds=3 + number % 3)
        prompt = engine.make_prompt(reference, None if number % 2 else TRANSCRIPT, CONSENT)
        job = SpeechRequest(f"Sentence {name} " * (1 + 2 * number), prompt, seed=number)
        shape = frames, engine._parts.code_groups
        rows[name] = Part(engine._lay_out(job).request, draw(number, 0, shape))
    return rows


def speak(
    decoder: Decoder, rows: Mapping[str, Part], when: Mapping[str, range]
) -> dict[str, torch.Tensor]:
    """Let rows join and leave at certain frames; give the codes of each, `(frames, code_groups)`.

    No row ends by itself: a code that would end it is said like any other.

    Args:
        decoder: It.
        rows: What they read.
        when: Each row joins before the frame that its range starts with, and leaves before the one
            that it stops at. A row that needs several frames to be read starts to speak later.
    """
    said: dict[str, list[torch.Tensor]] = {name: [] for name in when}
    present: dict[str, DecoderRow] = {}
    for frame in range(max(each.stop for each in when.values())):
        for name, frames in when.items():
            if frame == frames.stop:
                decoder.leave(present.pop(name))
            if frame == frames.start:
                present[name] = decoder.join(*rows[name])
        decoder.choose_first_codes()
        names = {row: name for name, row in present.items()}
        for row, codes in decoder.make_frames():
            said[names[row]].append(codes)
    return {name: torch.stack(codes) for name, codes in said.items() if codes}


def codes_until_the_end(
    engine: Engine, jobs: Iterable[SpeechRequest], frames: int
) -> list[torch.Tensor]:
    """What each job says until it ends, or has so many frames: `(frames, code_groups)`."""
    decoder = Decoder(engine._parts, rows=8, frames=frames + 1)
    draws = torch.zeros(frames + 1, engine._parts.code_groups)
    rows = [decoder.join(engine._lay_out(job).request, draws) for job in jobs]
    said: dict[DecoderRow, list[torch.Tensor]] = {row: [] for row in rows}
    under_way = set(rows)
    while under_way:
        for row, code in decoder.choose_first_codes():
            if code == engine._parts.first_codes.end_of_speech or len(said[row]) == frames:
                decoder.leave(row)
                under_way.remove(row)
        for row, codes in decoder.make_frames():
            said[row].append(codes)
    return [torch.stack(codes) for codes in said.values()]
