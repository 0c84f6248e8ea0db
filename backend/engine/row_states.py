"""What the decoder holds for each row besides keys and values, in tensors that stay in place.

Rows that speak are the first entries of the same tensors, and every step changes those where they
are: so a step is the same program over the same memory each time, and can be recorded once and
replayed (`backend.engine.cuda_graphs`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from backend.engine.prompt_embeds import LaidOutRequest

_TEXT_AT_ONCE = 128


class RowStates:
    """The states of rows, each a tensor whose first dimension is the row.

    Args:
        rows: The most rows.
        frames: The most frames of one row.
        code_groups: The codes of a frame.
        vocabulary: The first codes there are.
        text_pad: `(1, hidden)`, what is added to frames when the text is used up.

    Attributes:
        lengths: int64 `(rows,)`, the positions that the talker has read.
        frames: int64 `(rows,)`, the frames made.
        hidden: `(rows, hidden)`, the talker's last state.
        first_codes: int64 `(rows,)`, of the next frame.
        had: bool `(rows, vocabulary)`, the first codes so far.
        draws: float32 `(rows, frames, code_groups)`, the chance for every frame there can be.
        text: `(rows, tokens, hidden)`, of which one is added to each frame.
        last_text: int64 `(rows,)`, where each row's text has come to its padding.
        codes: int64 `(rows, code_groups)`, the last frame.
        growths: How often `text` has been laid out anew, which moves it.
    """

    def __init__(
        self, rows: int, frames: int, code_groups: int, vocabulary: int, text_pad: torch.Tensor
    ) -> None:
        counts = torch.zeros(rows, dtype=torch.long, device=text_pad.device)
        self.lengths = counts.clone()
        self.frames = counts.clone()
        self.last_text = counts.clone()
        self.first_codes = counts.clone()
        self.codes = counts.unsqueeze(1).repeat(1, code_groups)
        self.hidden = text_pad.new_zeros(rows, text_pad.shape[1])
        self.had = torch.zeros(rows, vocabulary, dtype=torch.bool, device=text_pad.device)
        self.draws = torch.zeros(rows, frames, code_groups, device=text_pad.device)
        self.text = text_pad.new_zeros(rows, 0, text_pad.shape[1])
        self.growths = 0
        self._text_pad = text_pad[0]

    def begin(
        self, row: int, request: LaidOutRequest, draws: torch.Tensor, hidden: torch.Tensor
    ) -> None:
        """Let a row begin, whose request the talker has read.

        Args:
            row: Which entry it takes.
            request: What was read.
            draws: float32 `(frames, code_groups)`, for each frame it may make.
            hidden: `(hidden,)`, the state after the last position.
        """
        tokens = len(request.trailing_text)
        self._reserve_text(tokens + 1)
        self.text[row, :tokens] = request.trailing_text
        self.text[row, tokens] = self._text_pad
        self.last_text[row] = tokens
        self.draws[row, : len(draws)] = draws
        self.hidden[row] = hidden
        self.lengths[row] = len(request.inputs)
        self.frames[row] = 0
        self.had[row] = False

    def vacate(self, start: int, end: int) -> None:
        """Make entries that no row has fit to be computed, whatever comes of it."""
        for state in (self.lengths, self.frames, self.last_text, self.first_codes):
            state[start:end] = 0

    def move(self, source: int, target: int) -> None:
        """Copy a row over another."""
        for state in (
            self.lengths,
            self.frames,
            self.last_text,
            self.first_codes,
            self.codes,
            self.hidden,
            self.had,
            self.draws,
            self.text,
        ):
            state[target] = state[source]

    def next_text(self, rows: torch.Tensor) -> torch.Tensor:
        """Give the text that is added to the frame of each of the first rows: `(rows, hidden)`.

        Args:
            rows: int64 `(rows,)`, counting from 0.
        """
        count = len(rows)
        return self.text[rows, torch.minimum(self.frames[:count], self.last_text[:count])]

    def _reserve_text(self, tokens: int) -> None:
        old = self.text.shape[1]
        if tokens <= old:
            return
        rounded = -(-tokens // _TEXT_AT_ONCE) * _TEXT_AT_ONCE
        grown = self.text.new_zeros(self.text.shape[0], rounded, self.text.shape[2])
        grown[:, :old] = self.text
        self.text = grown
        self.growths += 1
