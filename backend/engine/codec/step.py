"""One call of the codec for some rows, and the memory that it works on, which never moves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from backend.engine.chunk_plan import MOST_FRAMES
from backend.engine.kv_cache import unused_zeros

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from backend.engine.codec.network import CodecNetwork


class CodecStep:
    """Decodes the next frames of some rows, in memory that is allocated here once and for all.

    Behind the rows' slots is one more, which nobody uses. A call for more rows than there are
    decodes it, too.

    Args:
        network: The codec's decoder.
        rows: The most rows at once.

    Attributes:
        rows: As given.
        states: `(rows + 1, layout.size)`, the state of each slot.
        frames: int64 `(rows + 1,)`, how many frames each slot has had.
        slots: int64 `(rows,)`, the slots of the next call's rows.
        codes: int64 `(rows, MOST_FRAMES, code_groups)`, their frames. Those below 0 have failed.
    """

    def __init__(self, network: CodecNetwork, rows: int) -> None:
        self.rows = rows
        device, dtype = network.like.device, network.like.dtype
        self.states = unused_zeros((rows + 1, network.layout.size), dtype, device)
        self.frames = torch.zeros(rows + 1, dtype=torch.long, device=device)
        self.slots = torch.full((rows,), rows, device=device)
        self.codes = torch.zeros(
            rows, MOST_FRAMES, network.code_groups, dtype=torch.long, device=device
        )
        sizes = (rows * MOST_FRAMES * network.frame_samples,)
        self._samples = unused_zeros(sizes, dtype, device)
        self._network = network
        self._numbers = torch.arange(rows + 1, device=device)

    @torch.inference_mode()
    def clear(self) -> None:
        """Make all slots empty."""
        self.states.zero_()
        self.frames.zero_()

    def fill(self, slot: int, state: Tensor, frames: int) -> None:
        """Give a slot to a row.

        Args:
            slot: The slot.
            state: `(layout.size,)`, the row's state.
            frames: How many frames it has had.
        """
        self.states[slot] = state
        self.frames[slot] = frames

    def choose(self, slots: Sequence[int], rows: int) -> None:
        """Choose the rows of the next call.

        Args:
            slots: Their slots.
            rows: As many rows as the call has: the others are nobody's.
        """
        chosen = [*slots, *[self.rows] * (rows - len(slots))]
        torch.cat([self._numbers[each : each + 1] for each in chosen], out=self.slots[:rows])

    def samples(self, rows: int, frames: int) -> Tensor:
        """Return where a call for so many rows and frames leaves its samples: `(rows, samples)`."""
        count = frames * self._network.frame_samples
        return self._samples[: rows * count].view(rows, count)

    def run(self, rows: int, frames: int) -> None:
        """Decode the next frames of the chosen rows.

        For one `rows` and `frames`, this always runs the same kernels on the same memory. If it
        runs out of memory, it has changed nothing. A row of which a frame has failed gets samples
        that are not numbers.

        Args:
            rows: How many rows.
            frames: How many frames of each, at most `MOST_FRAMES`.
        """
        slots, codes = self.slots[:rows], self.codes[:rows, :frames]
        layout = self._network.layout
        vectors, before = self.states.index_select(0, slots), self.frames.index_select(0, slots)
        state = layout.open(vectors, before, frames)
        samples = self._network.decode(codes.clamp(min=0), state)
        have_failed = (codes < 0).flatten(1).any(dim=1, keepdim=True)
        samples = samples.masked_fill_(have_failed, torch.nan)
        # From here on, nothing is allocated.
        self.samples(rows, frames).copy_(samples)
        self.states.index_copy_(0, slots, state.vectors)
        self.frames.index_copy_(0, slots, state.frames)
