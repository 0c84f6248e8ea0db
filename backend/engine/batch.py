"""A batch of rows (sequences) that decode together, one codec frame of every row at a time.

It does not use transformers' `generate`. Rows are added and removed between frames. Each has its
own length in the KV cache, so nothing is padded and no row waits for another. The result of a row
does not depend on the other rows, except for rounding: matrix products of different sizes round
differently. Logits differ by less than 1e-4 of their spread in float32, and not measurably in
float64.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

import torch

from backend.engine.cuda_graphs import StepGraphs, rounded_positions, rounded_rows
from backend.engine.prompt_embeds import PreparedRequest
from backend.engine.sampling import draw_uniforms

if TYPE_CHECKING:
    from torch import Tensor

    from backend.engine.cuda_graphs import Recorder
    from backend.engine.loading import ModelParts

PREFILL_POSITIONS = 256
"""The most prompt positions that are prefilled before each frame. A prompt has some 20 to 400.
Prefilling more of them at once would delay the next frame of the other rows."""

_GRAPH_POSITIONS = 512  # enough for a long reference and ten seconds of speech
_TEXT_STEP = 128  # room for trailing text is allocated in multiples of this many tokens


@dataclass(eq=False, slots=True)
class Row:
    """A sequence of a batch.

    Attributes:
        request: Its prompt embeddings, trailing text and limits.
        attempt: The number of the attempt, from 0. Each gives other speech for the same seed.
        length: How many positions it has in the KV cache.
        slot: Its index in the batch's tensors, once its prefill is complete.
    """

    request: PreparedRequest
    attempt: int = 0
    length: int = field(default=0, init=False)
    slot: int | None = field(default=None, init=False)


RowT = TypeVar("RowT", bound=Row)


class Batch(Generic[RowT]):
    """The rows that decode together. Not thread-safe.

    Args:
        parts: The parts of a loaded model.
        rows: The most rows at once.
        max_tokens: The most tokens of codebook 0 in one row, its end of speech included.
        recorder: Records steps for replay; with None, every step is run directly.

    Attributes:
        capacity: The most rows at once.
        end_of_speech: The code of codebook 0 that ends a row.
    """

    def __init__(
        self, parts: ModelParts, *, rows: int, max_tokens: int, recorder: Recorder | None = None
    ) -> None:
        self.capacity = rows
        self.end_of_speech = parts.codec_head.end_of_speech
        self._parts = parts
        self._cache = parts.talker.new_cache()
        slots = rounded_rows(rows)
        self._state = BatchState(parts, slots, max_tokens)
        self._slots = torch.arange(slots, device=parts.text_pad.device)
        self._graphs = recorder and StepGraphs(recorder)
        if recorder:  # recorded graphs are lost when the cache grows
            self._reserve(slots, _GRAPH_POSITIONS)
        self._waiting: deque[RowT] = deque()  # the first may be partly prefilled
        self._decoding: list[RowT] = []  # in the order of their slots

    def add(self, row: RowT) -> None:
        """Add a row. It decodes once its prefill is complete."""
        self._waiting.append(row)

    @torch.inference_mode()
    def remove(self, row: RowT) -> None:
        """Remove a row, and free its slot."""
        if row.slot is None:
            if row.length:
                self._cache.clear(len(self._decoding))
            self._waiting.remove(row)
            return
        self._cache.clear(row.slot)
        last = self._decoding.pop()
        if last is not row:
            self._cache.move(len(self._decoding), row.slot, last.length)
            self._state.copy(len(self._decoding), row.slot)
            last.slot = row.slot
            self._decoding[row.slot] = last
        if self._waiting:  # a partly prefilled row is cached behind those that decode
            count = len(self._decoding)
            self._cache.move(count + 1, count, self._waiting[0].length)

    @torch.inference_mode()
    def next_codes(self) -> list[tuple[RowT, int]]:
        """Prefill waiting rows, then return the codebook 0 code of each row's next frame.

        Rows whose code is `end_of_speech` or `FAILED` have to be removed before `decode_step`.
        """
        self._prefill()
        codes = self._state.codebook0[: len(self._decoding)].tolist()
        return list(zip(self._decoding, codes, strict=True))

    @torch.inference_mode()
    def decode_step(self) -> list[tuple[RowT, Tensor]]:
        """Complete the frame of every row, and sample codebook 0 of the next one.

        Returns:
            The rows, each with its frame: int64 `(code_groups,)`, `FAILED` where the model failed.
        """
        count = len(self._decoding)
        if not count:
            return []
        end = max(row.length for row in self._decoding) + 1
        if self._graphs is None:
            self._reserve(count, end)
            self._step(count, end)
        else:
            self._replay_step(self._graphs, count, end)
        for row in self._decoding:
            row.length += 1
        return list(zip(self._decoding, self._state.codes[:count].clone(), strict=True))

    def hidden_states(self) -> Tensor:
        """Return the talker's last hidden states of the rows that decode, `(rows, hidden)`."""
        return self._state.hidden[: len(self._decoding)].clone()

    def _replay_step(self, graphs: StepGraphs, count: int, end: int) -> None:
        rows, positions = rounded_rows(count), rounded_positions(end)
        self._reserve(rows, positions)
        self._state.reset(count, rows)
        if self._waiting and count < rows:
            # A partly prefilled row is cached there: only its next position may be overwritten.
            self._reserve(rows, self._waiting[0].length + 1)
            self._state.lengths[count] = self._waiting[0].length
        # The talker is shared with other batches, any of which may make its tables grow.
        moving = self._cache, self._state, self._parts.talker
        graphs.run(self._step, rows, positions, tuple(each.reallocations for each in moving))

    def _step(self, count: int, end: int) -> None:
        """Decode one frame of the first `count` rows.

        For one `count` and `end`, this always runs the same kernels on the same memory.
        """
        state, slots = self._state, self._slots[:count]
        uniforms = state.uniforms[slots, state.frames[:count], 1:]
        codebook0 = state.codebook0[:count]
        codes, embedded = self._parts.code_predictor.predict(
            state.hidden[:count], codebook0, uniforms
        )
        state.codes[:count] = codes
        state.seen[:count].scatter_(1, codebook0.unsqueeze(1), value=True)
        inputs = embedded + state.next_text(slots)
        lengths = state.lengths[:count]
        state.hidden[:count] = self._parts.talker.decode_step(inputs, self._cache, lengths, end)
        lengths += 1
        state.frames[:count] += 1
        self._sample_codebook0(slice(count))

    def _sample_codebook0(self, slots: slice) -> None:
        state = self._state
        frames = state.frames[slots]
        uniforms = state.uniforms[self._slots[slots], frames, 0]
        state.codebook0[slots] = self._parts.codec_head.sample(
            state.hidden[slots], state.seen[slots], frames, uniforms
        )

    def _prefill(self) -> None:
        """Prefill the prompts of waiting rows, at most `PREFILL_POSITIONS` positions in all."""
        budget = PREFILL_POSITIONS
        while self._waiting and budget:
            row = self._waiting[0]
            part = row.request.inputs[row.length : row.length + budget]
            slot = len(self._decoding)
            self._reserve(slot + 1, row.length + len(part))
            hidden = self._parts.talker.prefill(part, self._cache, slot, row.length)
            row.length += len(part)
            budget -= len(part)
            if row.length == len(row.request.inputs):
                self._start(self._waiting.popleft(), slot, hidden)

    def _start(self, row: RowT, slot: int, hidden: Tensor) -> None:
        """Start to decode a row whose prefill is complete."""
        row.slot = slot
        self._decoding.append(row)
        self._state.fill(slot, row, hidden)
        self._sample_codebook0(slice(slot, slot + 1))

    def _reserve(self, rows: int, positions: int) -> None:
        self._cache.reserve(rounded_rows(rows), positions)
        self._parts.talker.reserve(self._cache.positions)


class BatchState:
    """The state of each row besides the KV cache.

    Every step changes these tensors in place. So it always works on the same memory, and can be
    recorded once and replayed (`backend.engine.cuda_graphs`).

    Args:
        parts: The parts of a loaded model.
        slots: How many rows there is room for.
        max_tokens: The most tokens of codebook 0 in one row.

    Attributes:
        lengths: int64 `(slots,)`, the row's positions in the KV cache.
        frames: int64 `(slots,)`, the row's number of frames.
        hidden: `(slots, hidden)`, the talker's last hidden state.
        codebook0: int64 `(slots,)`, the first code of the next frame.
        codes: int64 `(slots, code_groups)`, the last frame.
        seen: bool `(slots, vocabulary)`, the codes of codebook 0 so far.
        uniforms: float32 `(slots, max_tokens, code_groups)`, the random numbers for every frame.
        text: `(slots, tokens, hidden)`, the trailing text and a padding token after it.
        text_lengths: int64 `(slots,)`, how many tokens of trailing text the row has.
        reallocations: How often `text` has grown, which moves it in memory.
    """

    def __init__(self, parts: ModelParts, slots: int, max_tokens: int) -> None:
        self._code_groups = parts.code_groups
        self._text_pad = parts.text_pad[0]
        device, (width,) = self._text_pad.device, self._text_pad.shape
        counts = torch.zeros(slots, dtype=torch.long, device=device)
        self._counts = [counts.clone() for _ in range(4)]
        self.lengths, self.frames, self.text_lengths, self.codebook0 = self._counts
        self.codes = counts.unsqueeze(1).repeat(1, self._code_groups)
        self.hidden = self._text_pad.new_zeros(slots, width)
        self.seen = torch.zeros(slots, parts.codec_head.vocabulary, dtype=torch.bool, device=device)
        self.uniforms = torch.zeros(slots, max_tokens, self._code_groups, device=device)
        self.text = self._text_pad.new_zeros(slots, 0, width)
        self.reallocations = 0

    def fill(self, slot: int, row: Row, hidden: Tensor) -> None:
        """Fill a slot with a row whose prefill is complete.

        Args:
            slot: The index of the slot.
            row: The row.
            hidden: `(hidden,)`, the talker's state after the last position.
        """
        request = row.request
        tokens = len(request.trailing_text)
        self._reserve_text(tokens + 1)
        self.text[slot, :tokens] = request.trailing_text
        self.text[slot, tokens] = self._text_pad
        self.text_lengths[slot] = tokens
        self.uniforms[slot, : request.max_tokens] = draw_uniforms(
            request.seed, row.attempt, (request.max_tokens, self._code_groups)
        )
        self.hidden[slot] = hidden
        self.lengths[slot] = len(request.inputs)
        self.frames[slot] = 0
        self.seen[slot] = False

    def reset(self, start: int, end: int) -> None:
        """Set the counts of empty slots to 0. The slots are computed, but the results not used."""
        for each in self._counts:
            each[start:end] = 0

    def copy(self, source: int, target: int) -> None:
        """Copy one slot over another."""
        rows = self.codes, self.hidden, self.seen, self.uniforms, self.text
        for each in (*self._counts, *rows):
            each[target] = each[source]

    def next_text(self, slots: Tensor) -> Tensor:
        """Return the text embedding that is added to each row's next frame.

        Args:
            slots: int64 `(rows,)`, as `torch.arange` counts the first rows.

        Returns:
            `(rows, hidden)`; the embedding of padding for a row whose text is used up.
        """
        count = len(slots)
        return self.text[slots, torch.minimum(self.frames[:count], self.text_lengths[:count])]

    def _reserve_text(self, tokens: int) -> None:
        slots, old, width = self.text.shape
        if tokens <= old:
            return
        grown = self.text.new_zeros(slots, -(-tokens // _TEXT_STEP) * _TEXT_STEP, width)
        grown[:, :old] = self.text
        self.text = grown
        self.reallocations += 1


_TRIAL_ROWS = 3  # not a power of two, so one slot is computed without a row
_TRIAL_FRAMES = 12
_TRIAL_POSITIONS = 10
_TRIAL_REMOVES_AT = 4  # frames
_TRIAL_ADDS_AT = 8
_TRIAL_LONG_TEXT = _TEXT_STEP + 1  # tokens: more than the room that is allocated at first


@torch.inference_mode()
def trial_states(parts: ModelParts, recorder: Recorder) -> Tensor:
    """Decode a few rows of noise; return the talker's states of all their frames.

    After some frames a row is removed, which changes the batch size. Later a row with a long text
    is added, which reallocates memory.

    Returns:
        float32 `(states, hidden)`.
    """
    random = torch.Generator().manual_seed(0)
    batch = Batch[Row](parts, rows=_TRIAL_ROWS, max_tokens=_TRIAL_FRAMES, recorder=recorder)
    pad = parts.text_pad

    def add(text_tokens: int) -> Row:
        noise = torch.randn(_TRIAL_POSITIONS, pad.shape[1], generator=random).to(pad)
        no_codes = torch.zeros(0, parts.code_groups, dtype=torch.long, device=pad.device)
        inputs, text = noise * pad.std() + pad, pad.expand(text_tokens, -1)
        row = Row(PreparedRequest(inputs, text, no_codes, 1, _TRIAL_FRAMES, seed=0))
        batch.add(row)
        return row

    first, *_ = [add(text_tokens=1) for _ in range(_TRIAL_ROWS)]
    states = []
    for frame in range(_TRIAL_FRAMES - 1):
        if frame == _TRIAL_REMOVES_AT:
            batch.remove(first)
        if frame == _TRIAL_ADDS_AT:
            add(text_tokens=_TRIAL_LONG_TEXT)
        batch.next_codes()
        batch.decode_step()
        states.append(batch.hidden_states().float())
    return torch.cat(states)
