"""The prefill: prompts through the talker, one or several, in usual sizes as CUDA graphs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch

from backend.engine.cuda_graphs import Graphs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from torch import Tensor

    from backend.engine.cuda_graphs import Recorder
    from backend.engine.kv_cache import KVCache
    from backend.engine.talker import Talker

MOST_POSITIONS = 2_048
"""The most positions in a pass of several prompts, padding included. All sizes that are captured
share the memory that the largest one needs, by calculation less than 0.2 GB."""

_USUAL_POSITIONS = (64, 128, 192, 256, 384, 512)
"""A clip of 3 to 15 s, its transcript and a sentence have some 70 to 350 positions."""

_USUAL_ROWS = (1, 2, 4, 8)


@dataclass(frozen=True, slots=True, order=True)
class PrefillSize:
    """What a pass is captured for.

    Attributes:
        rows: How many prompts.
        positions: At least as many as the longest prompt has.
    """

    rows: int
    positions: int

    @property
    def computed(self) -> int:
        """How many positions are computed, padding included."""
        return self.rows * self.positions

    def __str__(self) -> str:
        return f"{'a prompt' if self.rows == 1 else f'{self.rows} prompts'} of {self.positions}"


def usual_prompts(rows: int) -> list[PrefillSize]:
    """List the sizes to capture.

    Args:
        rows: The most rows.
    """
    sizes = (PrefillSize(few, most) for few in _USUAL_ROWS for most in _USUAL_POSITIONS)
    return [each for each in sizes if each.rows <= rows and each.computed <= MOST_POSITIONS]


class PrefillGraphs(Graphs[PrefillSize]):
    """The captured sizes of one `PrefillStep`."""

    def size_for(self, rows: int, positions: int) -> PrefillSize | None:
        """Return the captured size with so much room that computes least; None without one."""
        fitting = (each for each in self.replays if each.rows >= rows)
        large = (each for each in fitting if each.positions >= positions)
        return min(large, key=lambda each: (each.computed, each.rows), default=None)


class PrefillStep:
    """Runs the talker over prompts, in memory that is allocated here once and for all.

    Behind a prompt that is shorter than the pass has room for, padding is computed, too. What it
    leaves in the KV cache is behind the row's length: it is masked, and overwritten by the next
    frames. Where a captured pass has more rows than there are prompts, the last prompt is computed
    again and again. So nothing is written but what belongs there.

    Args:
        talker: Runs the layers.
        cache: The KV cache of all rows.

    Attributes:
        cache: As given.
        inputs: `(MOST_POSITIONS, hidden)`, the prompts one after the other, each with its padding.
        slots: int64 `(rows,)`, the rows of the prompts in the cache.
        states: `(MOST_POSITIONS, hidden)`, the hidden states for the inputs.
        graphs: Captured sizes; None runs every prompt directly.
    """

    def __init__(self, talker: Talker, cache: KVCache) -> None:
        self.inputs = talker.new_states(MOST_POSITIONS)
        self.states = talker.new_states(MOST_POSITIONS)
        self._padding = talker.new_states(MOST_POSITIONS)
        self._order = torch.arange(max(_USUAL_ROWS[-1], cache.rows), device=self.inputs.device)
        self.slots = self._order.clone()
        self.graphs: PrefillGraphs | None = None
        self._talker = talker
        self.cache = cache

    def size_for(self, rows: int, positions: int) -> PrefillSize | None:
        """Return what a pass of several whole prompts is computed as; None if it cannot be.

        Args:
            rows: How many prompts.
            positions: How many positions the longest one has.
        """
        if self.graphs:
            return self.graphs.size_for(rows, positions)
        size = PrefillSize(rows, positions)
        return size if size.computed <= MOST_POSITIONS else None

    def __call__(self, prompts: Sequence[Tensor], slot: int, start: int = 0) -> Tensor:
        """Run the talker over whole prompts, or over a part of a single one.

        Args:
            prompts: `(positions, hidden)` each. Several must be such that `size_for` has a size.
            slot: The slot of the first; the others' follow it.
            start: How many positions of the row are cached already; 0 for whole prompts.

        Returns:
            The hidden state of each one's last position, `(rows, hidden)`.
        """
        count, longest = len(prompts), max(map(len, prompts))
        is_captured = self.graphs is not None and not start
        size = self.size_for(count, longest) if is_captured or count > 1 else None
        if size is None:
            (inputs,) = prompts
            self.cache.use(slot, start + longest)
            return self._talker.prefill(inputs, self.cache, slot, start).unsqueeze(0)
        self._fill(prompts, slot, size)
        if self.graphs:
            self.graphs.replay(size)
        else:
            self.run(size.rows, size.positions)
        ends = [row * size.positions + len(each) - 1 for row, each in enumerate(prompts)]
        return torch.stack([self.states[end] for end in ends])

    def run(self, rows: int, positions: int) -> None:
        """Run the talker over prompts from their start, with padding behind them.

        For one number of rows and of positions, this always runs the same kernels on the same
        memory.

        Args:
            rows: How many prompts.
            positions: How many positions of each, with padding.
        """
        inputs = self.inputs[: rows * positions].view(rows, positions, -1)
        states = self._talker.prefill_whole(inputs, self.cache, self.slots[:rows])
        self.states[: rows * positions] = states.flatten(0, 1)

    def _fill(self, prompts: Sequence[Tensor], slot: int, size: PrefillSize) -> None:
        """Put prompts where a pass reads them. Takes as many kernels for one as for many."""
        count = len(prompts)
        pieces = []
        for prompt in [*prompts, *[prompts[-1]] * (size.rows - count)]:
            pieces += [prompt, self._padding[: size.positions - len(prompt)]]
        torch.cat(pieces, out=self.inputs[: size.computed])
        torch.clamp(self._order[: size.rows], max=count - 1, out=self.slots[: size.rows]).add_(slot)
        for row in range(count):
            self.cache.use(slot + row, size.positions)

    @torch.inference_mode()
    def capture(self, recorder: Recorder, sizes: Iterable[PrefillSize]) -> PrefillGraphs:
        """Capture some sizes, while no row uses the cache.

        Args:
            recorder: Captures them.
            sizes: The sizes. What the cache has no room for is left out.

        Raises what `Graphs.capture` raises.
        """
        graphs = PrefillGraphs(recorder)
        fitting = [
            each
            for each in sizes
            if each.rows <= self.cache.rows and each.positions <= self.cache.positions
        ]
        graphs.capture(
            fitting, lambda size: partial(self.run, size.rows, size.positions), self._trial
        )
        for slot in range(self.cache.rows):
            self.cache.clear(slot)
        self.graphs = graphs if graphs.replays else None
        return graphs

    def _trial(self, size: PrefillSize, run: Callable[[], object]) -> Tensor:
        """Run over noise; return the states, and what was cached, as float32."""
        random = torch.Generator().manual_seed(0)
        shape = size.computed, self.inputs.shape[1]
        self.inputs[: size.computed] = torch.randn(shape, generator=random).to(self.inputs)
        self.slots.copy_(self._order)
        for slot in range(size.rows):
            self.cache.clear(slot)
            self.cache.use(slot, size.positions)
        run()
        views = self.cache.slot_views(self.slots[: size.rows], size.positions)
        cached = [
            each[: size.rows].float().sum(dim=-1)
            for view in views
            for each in (view.keys, view.values)
        ]
        states = self.states[: size.computed].float()
        return torch.cat([states.flatten(), *(each.flatten() for each in cached)])
