"""The decode step of the usual sizes, captured as CUDA graphs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch

from backend.engine.cuda_graphs import Graphs, usual_rows
from backend.engine.prompt_embeds import PreparedRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import Tensor

    from backend.engine.cuda_graphs import Recorder
    from backend.engine.decode_step import DecodeStep

USUAL_POSITIONS = (512, 768, 1_024, 1_536, 2_048)
"""A reference clip of 15 s, a sentence and ten seconds of speech have some 400 positions."""

_TRIAL_POSITIONS = 10
_TRIAL_FRAMES = 2  # the second reads what the first has cached


@dataclass(frozen=True, slots=True, order=True)
class StepSize:
    """What a step is captured for.

    Attributes:
        rows: The first rows of the batch.
        positions: More than the length of the longest of them.
    """

    rows: int
    positions: int

    def __str__(self) -> str:
        return f"{self.rows} by {self.positions}"


def usual_sizes(rows: int, positions: int) -> list[StepSize]:
    """List the sizes to capture: powers of two as rows, and the usual positions.

    Args:
        rows: The most rows, which are among the sizes.
        positions: The most positions, likewise.
    """
    return [
        StepSize(few, length)
        for few in usual_rows(rows)
        for length in [*(each for each in USUAL_POSITIONS if each < positions), positions]
    ]


class StepGraphs(Graphs[StepSize]):
    """The captured sizes of one `DecodeStep`."""

    def size_for(self, rows: int, end: int) -> StepSize | None:
        """Return the smallest captured size with so many rows and positions; None without one."""
        fitting = (each for each in self.replays if each.rows >= rows and each.positions >= end)
        return min(fitting, default=None)


@torch.inference_mode()
def capture_steps(step: DecodeStep, recorder: Recorder, sizes: Iterable[StepSize]) -> StepGraphs:
    """Capture a decode step in some sizes. Takes some tenths of a second for each.

    Args:
        step: The step, which no batch uses at the moment. All its rows are empty afterwards.
        recorder: Captures it.
        sizes: The sizes.

    Raises what `Graphs.capture` raises.
    """
    graphs = StepGraphs(recorder)
    graphs.capture(
        sizes, lambda size: partial(step.run, size.rows, size.positions), _Trial(step).states
    )
    step.clear()
    return graphs


class _Trial:
    """Rows of noise in every slot of a step, to be decoded again and again.

    Args:
        step: The step.
    """

    def __init__(self, step: DecodeStep) -> None:
        self._step = step
        random = torch.Generator().manual_seed(0)
        like = step.state.hidden
        for slot in range(step.rows):
            noise = torch.randn(_TRIAL_POSITIONS, like.shape[1], generator=random).to(like)
            codes = torch.zeros(0, step.code_groups, dtype=torch.long, device=like.device)
            request = PreparedRequest(noise, noise[:0], codes, 1, _TRIAL_FRAMES + 1, seed=slot)
            hidden = step.prefill([noise], slot)
            step.start(slot, [request], [step.draw(request, attempt=0).result()], hidden)
            step.cache.use(slot, _TRIAL_POSITIONS + _TRIAL_FRAMES)
        self._start = step.state.saved()

    def states(self, size: StepSize, run: Callable[[], object]) -> Tensor:
        """Decode a few frames from the start; return the first rows' states, as float32."""
        self._step.state.restore(self._start)
        states = []
        for _ in range(_TRIAL_FRAMES):
            run()
            states.append(self._step.state.hidden[: size.rows].float())
        return torch.cat(states)
