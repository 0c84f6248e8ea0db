"""One decode step of all rows, and the memory that it works on, which never moves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from backend.engine.batch_state import BatchState
from backend.engine.prefill_step import PrefillStep
from backend.engine.transfers import HostCopy, UniformSource

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from torch import Tensor

    from backend.engine.loading import ModelParts
    from backend.engine.prompt_embeds import PreparedRequest


class DecodeStep:
    """The decode step of the first rows, in memory that is allocated here once and for all.

    Args:
        parts: The parts of a loaded model.
        rows: The most rows at once.
        positions: The most positions of a row, its prompt included.
        max_tokens: The most tokens of codebook 0 in one row, its end of speech included.

    Attributes:
        rows: As given.
        positions: As given.
        cache: The keys and values of all rows.
        prefill: Runs the talker over prompts.
        state: What each row has besides.
        code_groups: The codes of a frame.
        end_of_speech: The code of codebook 0 that ends a row.
        is_on_gpu: Whether steps run on a GPU, behind the program that launches them.
        users: How many batches have used this memory: the last one owns it.
    """

    def __init__(self, parts: ModelParts, *, rows: int, positions: int, max_tokens: int) -> None:
        self.rows = rows
        self.positions = positions
        self.code_groups = parts.code_groups
        self.end_of_speech = parts.codec_head.end_of_speech
        self.cache = parts.talker.new_cache(rows, positions)
        self.prefill = PrefillStep(parts.talker, self.cache)
        self.state = BatchState(parts, rows, max_tokens)
        self.is_on_gpu = parts.text_pad.device.type == "cuda"
        self.users = 0
        self._next_codes = HostCopy(self.state.codebook0)
        self._uniforms = UniformSource(parts.text_pad.device)
        self._parts = parts
        self._slots = torch.arange(rows, device=parts.text_pad.device)

    @torch.inference_mode()
    def clear(self) -> None:
        """Make all rows empty."""
        for slot in range(self.rows):
            self.cache.clear(slot)
        self.state.reset(0, self.rows)

    def draw(self, request: PreparedRequest, attempt: int) -> Future[Tensor]:
        """Begin to draw a row's random numbers, in another thread.

        Args:
            request: What the row says.
            attempt: The number of the attempt, from 0.
        """
        return self._uniforms.draw(request.seed, attempt, (request.max_tokens, self.code_groups))

    def start(
        self,
        slot: int,
        requests: Sequence[PreparedRequest],
        uniforms: Sequence[Tensor],
        hidden: Tensor,
    ) -> None:
        """Fill slots with rows whose prefill is complete, and sample their first codes.

        Args:
            slot: The slot of the first row; the others' follow it.
            requests: What the rows say.
            uniforms: The random numbers of each, as in `BatchState.fill`.
            hidden: `(rows, hidden)`, the talker's states after the last positions.
        """
        state, new = self.state, slice(slot, slot + len(requests))
        for number, filled in enumerate(zip(requests, uniforms, hidden, strict=True), start=slot):
            state.fill(number, *filled)
        state.codebook0[new] = self._parts.codec_head.sample(
            state.hidden[new], state.seen[new], state.frames[new], state.uniforms[new, 0, 0]
        )

    def begin_reading(self, rows: int) -> None:
        """Begin to read the first rows' codes of codebook 0, before they are overwritten."""
        self._next_codes.begin(self.state.codebook0[:rows])

    def finish_reading(self) -> list[int]:
        """Wait for the codes, but not for a step that was launched since `begin_reading`."""
        return self._next_codes.wait()

    def run(self, rows: int, end: int) -> None:
        """Complete the frame of the first rows, and sample codebook 0 of the next one.

        For one `rows` and `end`, this always runs the same kernels on the same memory. If it runs
        out of memory, it has changed nothing that a second run would not change in the same way.

        Args:
            rows: How many rows.
            end: More than the length of the longest, and at most `positions`.
        """
        state, slots = self.state, self._slots[:rows]
        lengths, frames = state.lengths[:rows], state.frames[:rows]
        codebook0, seen = state.codebook0[:rows], state.seen[:rows]
        valid0 = codebook0.clamp(min=0)  # a failed row may not have been removed yet
        uniforms = state.uniforms[slots, frames, 1:]
        codes, embedded = self._parts.code_predictor.predict(state.hidden[:rows], valid0, uniforms)
        seen.scatter_(1, valid0.unsqueeze(1), value=True)
        inputs = embedded + state.next_text(slots)
        hidden = self._parts.talker.decode_step(inputs, self.cache, lengths, end)
        next_frames = frames + 1
        next_codebook0 = self._parts.codec_head.sample(
            hidden, seen, next_frames, state.uniforms[slots, next_frames, 0]
        )
        # From here on, nothing is allocated.
        state.codes[:rows] = codes
        state.hidden[:rows] = hidden
        codebook0.copy_(next_codebook0)
        frames.copy_(next_frames)
        lengths += 1
