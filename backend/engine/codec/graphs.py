"""The codec's calls of the usual sizes, captured as CUDA graphs before anybody speaks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch

from backend.engine.cuda_graphs import Graphs, usual_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import Tensor

    from backend.engine.chunk_plan import ChunkPlan
    from backend.engine.codec.step import CodecStep
    from backend.engine.cuda_graphs import Recorder

_TRIAL_CALLS = 2  # the second reads the state that the first has left
_TRIAL_CODES = 64  # every codebook is larger


@dataclass(frozen=True, slots=True, order=True)
class CodecSize:
    """What a call is captured for.

    Attributes:
        rows: How many rows.
        frames: How many frames of each.
    """

    rows: int
    frames: int

    def __str__(self) -> str:
        return f"{self.rows} by {self.frames}"


class CodecGraphs(Graphs[CodecSize]):
    """The captured sizes of one `CodecStep`."""

    def size_for(self, rows: int, frames: int) -> CodecSize | None:
        """Return the smallest captured size with at least so many rows and just so many frames.

        Rows can be added that are nobody's. But a frame too many would enter a row's state.
        """
        fitting = (each for each in self.replays if each.rows >= rows and each.frames == frames)
        return min(fitting, default=None)

    def pieces(self, rows: int, frames: int) -> list[int]:
        """Return captured numbers of frames that add up, large ones first; none if none do."""
        captured = {each.frames for each in self.replays if each.rows >= rows}
        pieces = []
        for size in sorted(captured, reverse=True):
            whole, frames = divmod(frames, size)
            pieces += [size] * whole
        return [] if frames else pieces


def usual_calls(plan: ChunkPlan, rows: int) -> list[CodecSize]:
    """List the sizes to capture: powers of two as rows, as far as a call has so many.

    Frames that no chunk has are the rest of a row that ends, which is decoded alone.

    Args:
        plan: The plan of chunks.
        rows: The most rows.
    """
    counts = usual_rows(rows)
    sizes = []
    for frames in plan.captured:
        most = min(rows, plan.rows_at_once(frames, rows)) if frames in plan.chunks else 1
        enough = next(each for each in counts if each >= most)
        sizes += [CodecSize(count, frames) for count in counts if count <= enough]
    return sizes


@torch.inference_mode()
def capture_calls(step: CodecStep, recorder: Recorder, sizes: Iterable[CodecSize]) -> CodecGraphs:
    """Capture a codec's calls in some sizes. Takes some tenths of a second for each.

    Args:
        step: The step, which no row uses at the moment. All its slots are empty afterwards.
        recorder: Captures it.
        sizes: The sizes.

    Raises what `Graphs.capture` raises.
    """
    graphs = CodecGraphs(recorder)
    graphs.capture(
        sizes, lambda size: partial(step.run, size.rows, size.frames), partial(_samples, step)
    )
    step.clear()
    return graphs


def _samples(step: CodecStep, size: CodecSize, run: Callable[[], object]) -> Tensor:
    """Decode noise a few times from the start; return the samples, as float32."""
    random = torch.Generator().manual_seed(0)
    step.clear()
    step.choose(range(size.rows), size.rows)
    samples = []
    for _ in range(_TRIAL_CALLS):
        codes = torch.randint(_TRIAL_CODES, step.codes.shape, generator=random)
        step.codes.copy_(codes)
        run()
        samples.append(step.samples(size.rows, size.frames).float())
    return torch.cat(samples)
