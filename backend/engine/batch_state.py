"""What each row of a batch has besides the KV cache, as tensors that stay where they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from backend.engine.kv_cache import unused_zeros

if TYPE_CHECKING:
    from torch import Tensor

    from backend.engine.loading import ModelParts
    from backend.engine.prompt_embeds import PreparedRequest


class BatchState:
    """The state of each row besides the KV cache.

    Every step changes these tensors in place. So it always works on the same memory, and can be
    captured once and replayed (`backend.engine.cuda_graphs`).

    Args:
        parts: The parts of a loaded model.
        slots: How many rows there is room for.
        max_tokens: The most tokens of codebook 0 in one row.

    Attributes:
        max_tokens: As given.
        lengths: int64 `(slots,)`, the row's positions in the KV cache.
        frames: int64 `(slots,)`, the row's number of frames.
        hidden: `(slots, hidden)`, the talker's last hidden state.
        codebook0: int64 `(slots,)`, the first code of the next frame.
        codes: int64 `(slots, code_groups)`, the last frame.
        seen: bool `(slots, vocabulary)`, the codes of codebook 0 so far.
        uniforms: float32 `(slots, max_tokens + 1, code_groups)`, the random numbers for every
            frame, and for one that is computed before it is known that there is none.
        text: `(slots, max_tokens + 1, hidden)`, the trailing text and a padding token after it. A
            row has no frame for a token that comes later.
        text_lengths: int64 `(slots,)`, how many tokens of trailing text the row has.
    """

    def __init__(self, parts: ModelParts, slots: int, max_tokens: int) -> None:
        self.max_tokens = max_tokens
        self._code_groups = parts.code_groups
        self._text_pad = parts.text_pad[0]
        device, (width,) = self._text_pad.device, self._text_pad.shape
        self._counts = torch.zeros(4, slots, dtype=torch.long, device=device)
        self.lengths, self.frames, self.text_lengths, self.codebook0 = self._counts
        self.codes = torch.zeros(slots, self._code_groups, dtype=torch.long, device=device)
        self.hidden = torch.zeros(slots, width, dtype=self._text_pad.dtype, device=device)
        self.seen = torch.zeros(slots, parts.codec_head.vocabulary, dtype=torch.bool, device=device)
        self.uniforms = torch.zeros(slots, max_tokens + 1, self._code_groups, device=device)
        self.text = unused_zeros((slots, max_tokens + 1, width), self._text_pad.dtype, device)

    def fill(self, slot: int, request: PreparedRequest, uniforms: Tensor, hidden: Tensor) -> None:
        """Fill a slot with a row whose prefill is complete.

        Args:
            slot: The index of the slot.
            request: What the row says.
            uniforms: float32 `(request.max_tokens, code_groups)`, its random numbers.
            hidden: `(hidden,)`, the talker's state after the last position.
        """
        tokens = self._text_tokens(request)
        self.uniforms[slot, : len(uniforms)].copy_(uniforms, non_blocking=True)
        self.text[slot, :tokens] = request.trailing_text[:tokens]
        self.text[slot, tokens] = self._text_pad
        self.text_lengths[slot] = tokens
        self.hidden[slot] = hidden
        self.lengths[slot] = len(request.inputs)
        self.frames[slot] = 0
        self.seen[slot] = False

    def reset(self, start: int, end: int) -> None:
        """Set the counts of empty slots to 0. The slots are computed, but the results not used."""
        self._counts[:, start:end] = 0

    def copy(self, source: int, target: int, request: PreparedRequest) -> None:
        """Copy one slot, which holds a row that says `request`, over another."""
        self._counts[:, target] = self._counts[:, source]
        for each in (self.codes, self.hidden, self.seen):
            each[target] = each[source]
        tokens = self._text_tokens(request) + 1
        self.text[target, :tokens] = self.text[source, :tokens]
        drawn = request.max_tokens
        self.uniforms[target, :drawn] = self.uniforms[source, :drawn]

    def next_text(self, slots: Tensor) -> Tensor:
        """Return the text embedding that is added to each row's next frame.

        Args:
            slots: int64 `(rows,)`, as `torch.arange` counts the first rows.

        Returns:
            `(rows, hidden)`; the embedding of padding for a row whose text is used up.
        """
        count = len(slots)
        return self.text[slots, torch.minimum(self.frames[:count], self.text_lengths[:count])]

    def saved(self) -> list[Tensor]:
        """Return copies of all that a step changes."""
        return [each.clone() for each in self._changing()]

    def restore(self, saved: list[Tensor]) -> None:
        """Undo all steps since `saved` was called."""
        for each, value in zip(self._changing(), saved, strict=True):
            each.copy_(value)

    def _changing(self) -> list[Tensor]:
        return [self._counts, self.codes, self.hidden, self.seen]

    def _text_tokens(self, request: PreparedRequest) -> int:
        return min(len(request.trailing_text), self.max_tokens)
