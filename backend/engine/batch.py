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
from itertools import accumulate
from typing import TYPE_CHECKING, Generic, TypeVar

import torch

from backend.engine.prefill_plan import CPU_PREFILL, GPU_PREFILL

if TYPE_CHECKING:
    from concurrent.futures import Future

    from torch import Tensor

    from backend.engine.decode_step import DecodeStep
    from backend.engine.prefill_plan import PrefillPlan
    from backend.engine.prompt_embeds import PreparedRequest
    from backend.engine.step_graphs import StepGraphs


@dataclass(eq=False, slots=True)
class Row:
    """A sequence of a batch.

    Attributes:
        request: Its prompt embeddings, trailing text and limits.
        attempt: The number of the attempt, from 0. Each gives other speech for the same seed.
        length: How many positions it has in the KV cache.
        slot: Its index in the batch's tensors, once its prefill is complete.
        uniforms: Its random numbers, which are drawn in another thread.
    """

    request: PreparedRequest
    attempt: int = 0
    length: int = field(default=0, init=False)
    slot: int | None = field(default=None, init=False)
    uniforms: Future[Tensor] | None = field(default=None, init=False, repr=False)

    @property
    def is_heard(self) -> bool:
        """Whether somebody may be waiting for its next frame, once it decodes."""
        return True


RowT = TypeVar("RowT", bound=Row)


class Batch(Generic[RowT]):
    """The rows that decode together. Not thread-safe.

    Only one batch at a time can use the memory of a step. A new one takes it from the one before.

    Args:
        step: Decodes a frame, and owns the memory.
        rows: The most rows at once; None is as many as the step has room for.
        graphs: Captured sizes of the step; without any, every step is run directly.
        is_ahead: Whether a step is launched before the codes of the last one are read, so that a
            GPU always has something to do. It is then computed for rows that have ended, too. None
            is so on a GPU.
        prefill: Which prompts are prefilled when; None is what suits the device.

    Attributes:
        capacity: The most rows at once.
        end_of_speech: The code of codebook 0 that ends a row.
        is_ahead: Whether a step is launched before the codes of the last one are read.
    """

    def __init__(
        self,
        step: DecodeStep,
        *,
        rows: int | None = None,
        graphs: StepGraphs | None = None,
        is_ahead: bool | None = None,
        prefill: PrefillPlan | None = None,
    ) -> None:
        self.capacity = step.rows if rows is None else rows
        self.end_of_speech = step.end_of_speech
        self._step = step
        self._graphs = graphs
        self.is_ahead = step.is_on_gpu if is_ahead is None else is_ahead
        self._prefill_plan = prefill or (GPU_PREFILL if step.is_on_gpu else CPU_PREFILL)
        self._codes: list[tuple[RowT, int]] | None = None  # of the frame that comes next
        self._frames: list[tuple[RowT, Tensor]] | None = None  # that was launched already
        self._waiting: deque[RowT] = deque()  # the first may be partly prefilled
        self._decoding: list[RowT] = []  # in the order of their slots
        step.clear()
        step.users += 1
        self._user = step.users

    def add(self, row: RowT) -> None:
        """Add a row. It decodes once its prefill is complete."""
        row.uniforms = self._step.draw(row.request, row.attempt)
        self._waiting.append(row)

    @torch.inference_mode()
    def remove(self, row: RowT) -> None:
        """Remove a row, and free its slot."""
        self._check_memory()
        cache, count = self._step.cache, len(self._decoding)
        if row.slot is None:
            if row.length:
                cache.clear(count)
            self._waiting.remove(row)
            return
        slot, row.slot = row.slot, None
        cache.clear(slot)
        last = self._decoding.pop()
        if last is not row:
            cache.move(count - 1, slot)
            self._step.state.copy(count - 1, slot, last.request)
            last.slot = slot
            self._decoding[slot] = last
        if self._waiting and self._waiting[0].length:
            cache.move(count, count - 1)  # a partly prefilled row is behind those that decode

    @torch.inference_mode()
    def next_codes(self) -> list[tuple[RowT, int]]:
        """Prefill waiting rows, then return the codebook 0 code of each row's next frame.

        Rows whose code is `end_of_speech` or `FAILED` have to be removed before `decode_step`.
        Until then, calling it again returns the same. This is a batch's only wait for the GPU.

        Raises RuntimeError if another batch has taken the memory.
        """
        self._check_memory()
        if self._codes is None:
            self._prefill()
            rows = list(self._decoding)
            self._step.begin_reading(len(rows))
            if self.is_ahead:
                self._frames = self._launch()
            self._codes = list(zip(rows, self._step.finish_reading(), strict=True))
        return [(row, code) for row, code in self._codes if row.slot is not None]

    @torch.inference_mode()
    def decode_step(self) -> list[tuple[RowT, Tensor]]:
        """Complete the frame of every row, and sample codebook 0 of the next one.

        If memory runs out, nothing has changed, and it can be called again.

        Returns:
            The rows, each with its frame: int64 `(code_groups,)`, `FAILED` where the model failed.
        """
        self._check_memory()
        frames = self._launch() if self._frames is None else self._frames
        self._codes = self._frames = None
        return [(row, frame) for row, frame in frames if row.slot is not None]

    def _launch(self) -> list[tuple[RowT, Tensor]]:
        """Run a step for all rows; return the rows with their frames."""
        count = len(self._decoding)
        if not count:
            return []
        codes = torch.empty_like(self._step.state.codes[:count])
        self._run(count)
        for row in self._decoding:
            row.length += 1
        codes.copy_(self._step.state.codes[:count])
        return list(zip(self._decoding, codes, strict=True))

    def hidden_states(self) -> Tensor:
        """Return the talker's last hidden states of the rows that decode, `(rows, hidden)`."""
        return self._step.state.hidden[: len(self._decoding)].clone()

    def _run(self, count: int) -> None:
        """Decode a frame of the first `count` slots, with the smallest graph that has them."""
        cache, state = self._step.cache, self._step.state
        end = max(row.length for row in self._decoding) + 1
        for slot, row in enumerate(self._decoding):
            cache.use(slot, row.length + 1)
        prefilled = self._waiting[0].length if self._waiting else 0
        size = self._graphs and self._graphs.size_for(count, max(end, prefilled + 1))
        if not self._graphs or not size:
            self._step.run(count, end)
            return
        if count < size.rows:
            state.reset(count, size.rows)
            for slot in range(count, size.rows):
                cache.use(slot, 1)
        if prefilled and count < size.rows:
            # A partly prefilled row is cached there: only its next position may be overwritten.
            state.lengths[count] = prefilled
            cache.use(count, prefilled + 1)
        self._graphs.replay(size)

    def _prefill(self) -> None:
        """Prefill the prompts of waiting rows, as many positions as the plan allows."""
        if self._waiting:
            is_heard = any(row.is_heard for row in self._decoding)
            most = self._prefill_plan.most_positions(is_heard=is_heard)
            self._prefill_whole(most - self._prefill_part(most))

    def _prefill_part(self, most: int) -> int:
        """Prefill a part of the first prompt, unless the whole of it fits.

        Args:
            most: The most positions.

        Returns:
            How many positions the part has; 0 if there was none.
        """
        row = self._waiting[0]
        part = row.request.inputs[row.length : row.length + most]
        end = row.length + len(part)
        if len(part) == len(row.request.inputs):
            return 0
        hidden = self._step.prefill([part], len(self._decoding), row.length)
        if end == len(row.request.inputs):
            self._start([row], hidden)
        row.length = end
        return len(part)

    def _prefill_whole(self, most: int) -> None:
        """Prefill whole prompts, several at once.

        None is overtaken: after the first one that does not fit, nothing is prefilled.

        Args:
            most: The most positions of all of them together.
        """
        waiting = list(self._waiting)
        lengths = [len(row.request.inputs) for row in waiting]
        fitting = sum(end <= most for end in accumulate(lengths))
        for each in self._prefill_plan.passes(lengths[:fitting], self._step.prefill.size_for):
            rows = [waiting[index] for index in each]
            prompts = [row.request.inputs for row in rows]
            self._start(rows, self._step.prefill(prompts, len(self._decoding)))

    def _start(self, rows: list[RowT], hidden: Tensor) -> None:
        """Let rows decode whose prefill is complete, with the last state of each."""
        drawn = [row.uniforms or self._step.draw(row.request, row.attempt) for row in rows]
        uniforms = [each.result() for each in drawn]
        slot = len(self._decoding)
        self._step.start(slot, [row.request for row in rows], uniforms, hidden)
        for row in rows:
            row.slot = len(self._decoding)
            row.length = len(row.request.inputs)
            self._waiting.remove(row)
            self._decoding.append(row)

    def _check_memory(self) -> None:
        if self._step.users != self._user:
            raise RuntimeError("another batch uses the memory of this one")
