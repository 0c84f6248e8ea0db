"""The decoder: requests in, codec frames out, one frame of every row at a time.

It drives the package's own modules without transformers' `generate`. Rows join and leave between
frames: each has its own length in the same memory, so that nothing is padded and nobody waits.
What a row says does not depend on the others, but for the rounding of products of another size:
logits differ by less than 1e-4 of their spread in float32, and not at all that shows in float64.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from backend.engine.replayed_step import ReplayedStep, rounded_positions, rounded_rows
from backend.engine.row_states import RowStates

if TYPE_CHECKING:
    from backend.engine.model_parts import ModelParts
    from backend.engine.prompt_embeds import LaidOutRequest
    from backend.engine.replayed_step import Recorder

PROMPT_POSITIONS = 256
"""Positions of joining rows that are read before each frame. A request has some 20 to 400; more of
them at once would hold up those who are being heard."""

_REPLAYED_POSITIONS = 512  # a long reference, and ten seconds of speech


@dataclass(eq=False, slots=True)
class DecoderRow:
    """A row under way.

    Attributes:
        request: What it reads before it speaks.
        draws: float32 `(frames, code_groups)`, uniform in [0, 1): the chance for every frame it may
            make.
        length: How many positions it has.
        place: Its entry in the decoder's tensors, once all of its request is read.
    """

    request: LaidOutRequest
    draws: torch.Tensor = field(repr=False)
    length: int = 0
    place: int | None = None


class Decoder:
    """Rows under way. For one thread.

    Args:
        parts: Of a loaded model, which make their frames.
        rows: The most at once.
        frames: The most that one row may make, of which the last stands for its end.
        recorder: Records steps, to be replayed; None runs each anew.
    """

    def __init__(
        self, parts: ModelParts, *, rows: int, frames: int, recorder: Recorder | None = None
    ) -> None:
        self._parts = parts
        self._memory = parts.talker.new_memory()
        entries = rounded_rows(rows)
        self._states = RowStates(
            entries, frames, parts.code_groups, parts.first_codes.vocabulary, parts.text_pad
        )
        self._numbers = torch.arange(entries, device=parts.text_pad.device)
        self._replay = recorder and ReplayedStep(recorder)
        if recorder:  # what is recorded is lost when memory grows
            self._reserve(entries, _REPLAYED_POSITIONS)
        self._waiting: deque[DecoderRow] = deque()  # of which the first may be read in part
        self._speaking: list[DecoderRow] = []  # in the order of their places

    def join(self, request: LaidOutRequest, draws: torch.Tensor) -> DecoderRow:
        """Add a row, which speaks once its request is read.

        Args:
            request: What to read.
            draws: As `DecoderRow` has it.
        """
        row = DecoderRow(request, draws)
        self._waiting.append(row)
        return row

    @torch.inference_mode()
    def leave(self, row: DecoderRow) -> None:
        """Drop a row. It costs nothing more."""
        if row.place is None:
            if row.length:
                self._memory.forget(len(self._speaking))
            self._waiting.remove(row)
            return
        self._memory.forget(row.place)
        last = self._speaking.pop()
        if last is not row:
            self._memory.move(len(self._speaking), row.place, last.length)
            self._states.move(len(self._speaking), row.place)
            last.place = row.place
            self._speaking[row.place] = last
        if self._waiting:  # what has been read of the next stands behind those who speak
            count = len(self._speaking)
            self._memory.move(count + 1, count, self._waiting[0].length)

    @torch.inference_mode()
    def choose_first_codes(self) -> list[tuple[DecoderRow, int]]:
        """Let rows join whose requests are read; give each row's first code of its next frame.

        It may be the end of speech, or `FAILED`: those rows have to leave.
        """
        self._read_requests()
        codes = self._states.first_codes[: len(self._speaking)].tolist()
        return list(zip(self._speaking, codes, strict=True))

    @torch.inference_mode()
    def make_frames(self) -> list[tuple[DecoderRow, torch.Tensor]]:
        """Complete the frame of every row that speaks, and go on to the next.

        Returns:
            The rows, each with its frame: int64 `(code_groups,)`, negative where the model failed.
        """
        count = len(self._speaking)
        if not count:
            return []
        end = max(row.length for row in self._speaking) + 1
        if self._replay is None:
            self._reserve(count, end)
            self._step(count, end)
        else:
            self._replay_step(self._replay, count, end)
        for row in self._speaking:
            row.length += 1
        return list(zip(self._speaking, self._states.codes[:count].clone(), strict=True))

    def states_of_rows(self) -> torch.Tensor:
        """Give the talker's last states of the rows that speak, `(rows, hidden)`."""
        return self._states.hidden[: len(self._speaking)].clone()

    def _replay_step(self, replay: ReplayedStep, count: int, end: int) -> None:
        rows, positions = rounded_rows(count), rounded_positions(end)
        self._reserve(rows, positions)
        self._states.vacate(count, rows)
        if self._waiting and count < rows:
            # What is read in part stands there: the next position may be overwritten, no other.
            self._reserve(rows, self._waiting[0].length + 1)
            self._states.lengths[count] = self._waiting[0].length
        # The talker is shared with other decoders, any of which may have it lay out more.
        parts = self._memory, self._states, self._parts.talker
        replay(self._step, rows, positions, tuple(part.growths for part in parts))

    def _step(self, count: int, end: int) -> None:
        """Move the first rows on by a frame: the same program every time, over the same memory."""
        states, rows = self._states, self._numbers[:count]
        draws = states.draws[rows, states.frames[:count], 1:]
        first_codes = states.first_codes[:count]
        codes, embedded = self._parts.residual_codes.predict(
            states.hidden[:count], first_codes, draws
        )
        states.codes[:count] = codes
        states.had[:count].scatter_(1, first_codes.unsqueeze(1), value=True)
        inputs = embedded + states.next_text(rows)
        lengths = states.lengths[:count]
        states.hidden[:count] = self._parts.talker.read_step(inputs, self._memory, lengths, end)
        lengths += 1
        states.frames[:count] += 1
        self._choose(slice(count))

    def _choose(self, places: slice) -> None:
        """Choose the first codes of some rows."""
        states = self._states
        frames = states.frames[places]
        draws = states.draws[self._numbers[places], frames, 0]
        states.first_codes[places] = self._parts.first_codes.choose(
            states.hidden[places], states.had[places], frames, draws
        )

    def _read_requests(self) -> None:
        """Read on in the requests of joining rows, within bounds."""
        budget = PROMPT_POSITIONS
        while self._waiting and budget:
            row = self._waiting[0]
            part = row.request.inputs[row.length : row.length + budget]
            place = len(self._speaking)
            self._reserve(place + 1, row.length + len(part))
            hidden = self._parts.talker.read_stretch(part, self._memory, place, row.length)
            row.length += len(part)
            budget -= len(part)
            if row.length == len(row.request.inputs):
                self._begin(self._waiting.popleft(), place, hidden)

    def _begin(self, row: DecoderRow, place: int, hidden: torch.Tensor) -> None:
        row.place = place
        self._speaking.append(row)
        self._states.begin(place, row.request, row.draws, hidden)
        self._choose(slice(place, place + 1))

    def _reserve(self, rows: int, positions: int) -> None:
        self._memory.reserve(rounded_rows(rows), positions)
        self._parts.talker.reserve(self._memory.positions)
