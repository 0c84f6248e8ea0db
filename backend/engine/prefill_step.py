"""The prefill: a prompt through the talker, for short prompts as captured CUDA graphs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch

from backend.engine.cuda_graphs import Graphs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import Tensor

    from backend.engine.cuda_graphs import Recorder
    from backend.engine.kv_cache import KVCache
    from backend.engine.talker import Talker

USUAL_PROMPTS = (64, 128, 192, 256, 384, 512)
"""A clip of 3 to 15 s, its transcript and a sentence have some 70 to 350 positions."""


@dataclass(frozen=True, slots=True, order=True)
class PrefillSize:
    """What a prefill is captured for.

    Attributes:
        positions: At least as many as the prompt has.
        rows: One.
    """

    positions: int
    rows: int = 1

    def __str__(self) -> str:
        return f"a prompt of {self.positions}"


class PrefillGraphs(Graphs[PrefillSize]):
    """The captured sizes of one `PrefillStep`."""

    def size_for(self, positions: int) -> PrefillSize | None:
        """Return the smallest captured size with so many positions; None without one."""
        return min((each for each in self.replays if each.positions >= positions), default=None)


class PrefillStep:
    """Runs the talker over prompts, in memory that is allocated here once and for all.

    Behind a prompt that is shorter than the captured size, padding is computed, too. What it leaves
    in the KV cache is behind the row's length: it is masked, and overwritten by the next frames.

    Args:
        talker: Runs the layers.
        cache: The KV cache of all rows.

    Attributes:
        cache: As given.
        inputs: `(positions, hidden)`, a prompt.
        slot: int64 `(1,)`, the row of the prompt in the cache.
        length: int64 `(1,)`, the positions of the prompt.
        hidden: `(1, hidden)`, the state of its last position.
        graphs: Captured sizes; None runs every prompt directly.
    """

    def __init__(self, talker: Talker, cache: KVCache) -> None:
        self.inputs = talker.new_states(min(USUAL_PROMPTS[-1], cache.positions))
        self.slot = torch.zeros(1, dtype=torch.long, device=self.inputs.device)
        self.length = torch.ones(1, dtype=torch.long, device=self.inputs.device)
        self.hidden = talker.new_states(1)
        self.graphs: PrefillGraphs | None = None
        self._talker = talker
        self.cache = cache

    def __call__(self, inputs: Tensor, slot: int, start: int) -> Tensor:
        """Run the talker over a part of a prompt.

        Args:
            inputs: `(positions, hidden)`.
            slot: The row's slot.
            start: How many positions of the row are cached already.

        Returns:
            The last position's hidden state, `(hidden,)`.
        """
        count = len(inputs)
        size = self.graphs.size_for(count) if self.graphs and not start else None
        if not self.graphs or not size:
            self.cache.use(slot, start + count)
            return self._talker.prefill(inputs, self.cache, slot, start)
        self.cache.use(slot, size.positions)
        self.inputs[:count] = inputs
        self.inputs[count : size.positions] = 0
        self.slot.fill_(slot)
        self.length.fill_(count)
        self.graphs.replay(size)
        return self.hidden[0].clone()

    def run(self, positions: int) -> None:
        """Run the talker over a prompt from its start, with padding behind it.

        For one number of positions, this always runs the same kernels on the same memory.

        Args:
            positions: How many, with padding.
        """
        states = self._talker.prefill_whole(self.inputs[:positions], self.cache, self.slot)
        self.hidden.copy_(states.index_select(0, self.length - 1))

    @torch.inference_mode()
    def capture(self, recorder: Recorder, sizes: Iterable[PrefillSize]) -> PrefillGraphs:
        """Capture some sizes, while no row uses the cache.

        Args:
            recorder: Captures them.
            sizes: The sizes.

        Raises what `Graphs.capture` raises.
        """
        graphs = PrefillGraphs(recorder)
        fitting = [each for each in sizes if each.positions <= len(self.inputs)]
        graphs.capture(fitting, lambda size: partial(self.run, size.positions), self._trial)
        self.cache.clear(0)
        self.graphs = graphs if graphs.replays else None
        return graphs

    def _trial(self, size: PrefillSize, run: Callable[[], object]) -> Tensor:
        """Run over noise; return a state, and what was cached, as float32."""
        random = torch.Generator().manual_seed(0)
        self.inputs.copy_(torch.randn(self.inputs.shape, generator=random))
        self.slot.fill_(0)
        self.length.fill_(size.positions // 2)
        self.cache.clear(0)
        self.cache.use(0, size.positions)
        run()
        views = self.cache.slot_views(self.slot, size.positions)
        cached = [
            each[0].float().sum(dim=-1) for view in views for each in (view.keys, view.values)
        ]
        return torch.cat([self.hidden.float().flatten(), *(each.flatten() for each in cached)])
