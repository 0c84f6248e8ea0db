"""The batch's decode step, recorded once as a CUDA graph and replayed.

A frame is some 2,000 small kernels. To launch them one by one from Python takes tens of
milliseconds, most of the 80 ms that a frame may take. To replay a CUDA graph takes a few
microseconds. A graph fixes addresses and sizes. So there is one for each number of rows and
positions, both rounded up, and slots without a row are computed too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import torch

from backend.engine.kv_cache import POSITION_STEP

if TYPE_CHECKING:
    from collections.abc import Hashable

    from torch import Tensor

Recorder = Callable[[Callable[[], None]], Callable[[], object] | None]
"""Records a step without changing the data that it works on. Returns a function that replays the
step, or None if the step has to be run each time."""

_TOLERANCE = 0.02  # of the largest number in the states: a few rounding errors of bfloat16

log = logging.getLogger(__name__)


def rounded_rows(rows: int) -> int:
    """Round a number of rows up to a power of two."""
    return 1 << (rows - 1).bit_length()


def rounded_positions(positions: int) -> int:
    """Round a number of positions up to a multiple of `POSITION_STEP`."""
    return -(-positions // POSITION_STEP) * POSITION_STEP


class StepGraphs:
    """The recorded steps of one batch, one for each size.

    A step is recorded when its size is needed for the second time. The first time it is run
    directly, because kernels and libraries have to be loaded before they can be recorded:
    https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs

    Args:
        recorder: Records the steps.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._sizes: set[tuple[int, int]] = set()
        self._replays: dict[tuple[int, int], Callable[[], object] | None] = {}
        self._memory_version: Hashable = None

    def run(
        self, step: Callable[[int, int], None], rows: int, positions: int, memory_version: Hashable
    ) -> None:
        """Run a step, or replay it.

        Args:
            step: Takes the number of rows and positions; the same function each time. No reference
                to it is kept, because that would keep its batch alive.
            rows: From `rounded_rows`.
            positions: From `rounded_positions`.
            memory_version: Has to change whenever memory that the step uses is reallocated.
        """
        if memory_version != self._memory_version:
            self._replays.clear()
            self._memory_version = memory_version
        size = rows, positions
        if size not in self._sizes:
            self._sizes.add(size)
            step(*size)
            return
        if size not in self._replays:
            self._replays[size] = self._recorder(partial(step, *size))
        replay = self._replays[size]
        if replay is None:
            step(*size)
        else:
            replay()


class CudaGraphRecorder:
    """Records steps as CUDA graphs that share their working memory, without running them.

    Sharing is safe because the graphs run one after the other, and their results are outside of it.
    """

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, step: Callable[[], None]) -> Callable[[], None]:
        """Record a step. It must have been run before, so that its kernels are loaded."""
        graph = torch.cuda.CUDAGraph()
        # By default, some GPU calls of other threads would make the recording fail:
        # https://docs.pytorch.org/docs/stable/generated/torch.cuda.graph.html
        recording = torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local")
        # Recording switches to another stream, and does not switch back if it fails.
        with torch.cuda.stream(torch.cuda.current_stream()), recording:
            step()
        return graph.replay


def checked_recorder(
    recorder: Recorder, trial: Callable[[Recorder], Tensor]
) -> tuple[Recorder | None, str]:
    """Return a recorder if replayed steps give the same states as steps that are run.

    Args:
        recorder: The recorder to check.
        trial: Decodes a few frames with a recorder, and returns the hidden states.

    Returns:
        The recorder, with a fallback: a step that cannot be recorded later is run instead. Or None:
        then every step has to be run, which is slower. And the reason.
    """
    try:
        expected = trial(lambda _step: None)  # nothing is recorded, so every step is run
        replayed = trial(recorder)
    except Exception as error:  # noqa: BLE001 - without graphs, speech is slower but works
        return None, f"recording failed with {type(error).__name__}"
    difference = (replayed - expected).abs().max() / expected.abs().max()
    reason = f"replayed states differ by {difference:.2g}"
    if not difference <= _TOLERANCE:  # which holds for NaN too
        return None, reason
    return _with_fallback(recorder), reason


def _with_fallback(recorder: Recorder) -> Recorder:
    def record(step: Callable[[], None]) -> Callable[[], object] | None:
        try:
            return recorder(step)
        except Exception as error:  # noqa: BLE001 - as above
            log.warning("a step was not recorded (%s), and is run instead", type(error).__name__)
            return None

    return record
