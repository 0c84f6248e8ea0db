"""What the engine is to reach on an H100, and where other engines are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Target:
    """A target for a figure.

    Attributes:
        figure: The figure's name.
        limit: The number that the figure is compared with.
        reason: Where the limit comes from, or what the figure is of.
        is_least: Whether the figure should be at least the limit; otherwise at most.
    """

    figure: str
    limit: float
    reason: str
    is_least: bool = False

    def judge(self, figures: Mapping[str, float]) -> str:
        """Say in a line whether the target is met."""
        wanted = f"{self.figure}: {'≥' if self.is_least else '≤'} {self.limit:g} ({self.reason})"
        if self.figure not in figures:
            return f"not measured  {wanted}"
        value = figures[self.figure]
        is_met = value >= self.limit if self.is_least else value <= self.limit
        return f"{'met         ' if is_met else 'not met     '}  {wanted}: {value:.3g}"


TARGETS = (
    *(
        Target(
            f"{model} times faster-qwen3-tts", 2.0, "one row, language model alone", is_least=True
        )
        for model in ("0.6B", "1.7B")
    ),
    Target("1.7B first sound ms", 55.0, "sglang-omni: 57.7"),
    Target("1.7B first sound beside 16 ms", 110.0, "sglang-omni: 103"),
    Target("1.7B 16 rows, seconds of speech a second", 60.0, "vLLM-Omni: 40.6", is_least=True),
    Target("1.7B 32 rows, seconds of speech a second", 100.0, "ours", is_least=True),
    *(
        Target(f"{model} codec, percent of a frame", 10.0, "1 row, chunks as in live speech")
        for model in ("0.6B", "1.7B")
    ),
)
"""For an H100 with 80 GB. The others' figures are those that they have published."""
