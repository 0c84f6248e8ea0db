"""Which prompts are prefilled before a frame, and which of them together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from backend.engine.prefill_step import PrefillSize


@dataclass(frozen=True, slots=True)
class PrefillPlan:
    """The plan of prefills for one kind of device.

    Attributes:
        positions: The most prompt positions that are prefilled before a frame. More of them would
            delay the next frame of those who are heard. A prompt has some 30 to 600.
        idle_positions: The same while nobody is heard, so that no sound is delayed.
        rows: The most prompts in one pass through the talker.
        least_share: How much of such a pass has to be prompts; the rest is padding, because prompts
            differ in length. A pass of one prompt may have any share.
    """

    positions: int
    idle_positions: int
    rows: int
    least_share: float

    def most_positions(self, *, is_heard: bool) -> int:
        """Return how many positions are prefilled before the next frame, at most."""
        return self.positions if is_heard else self.idle_positions

    def passes(
        self, prompts: Sequence[int], size_for: Callable[[int, int], PrefillSize | None]
    ) -> list[list[int]]:
        """Divide whole prompts into passes through the talker: as few as padding allows.

        Args:
            prompts: How many positions each prompt has.
            size_for: Returns what so many rows of so many positions are computed as; None if they
                cannot be computed in one pass.

        Returns:
            The indices of each pass' prompts. The pass of the first prompt comes first.
        """
        left = sorted(range(len(prompts)), key=lambda index: prompts[index], reverse=True)
        passes = []
        while left:
            rows = next(
                rows
                for rows in range(min(self.rows, len(left)), 0, -1)
                if rows == 1 or self._is_full([prompts[each] for each in left[:rows]], size_for)
            )
            passes.append(sorted(left[:rows]))
            del left[:rows]
        return sorted(passes)

    def _is_full(
        self, prompts: Sequence[int], size_for: Callable[[int, int], PrefillSize | None]
    ) -> bool:
        size = size_for(len(prompts), prompts[0])
        return size is not None and sum(prompts) >= self.least_share * size.computed


CPU_PREFILL = PrefillPlan(positions=256, idle_positions=512, rows=8, least_share=0.9)
"""For a processor: padding takes as long as prompts do."""

GPU_PREFILL = PrefillPlan(positions=256, idle_positions=2_048, rows=8, least_share=2 / 3)
"""For a GPU. On an H100 a single prompt of 159 positions takes 4 ms until its first code is read. A
pass reads the weights once for all its rows, so several should take little longer: no GPU has
measured that, nor these numbers."""
